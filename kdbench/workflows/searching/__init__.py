"""The parts of a search: its trials in the run's folder, the choice of the next one, and the pruning of poor ones.

A trial is a point of a sweep whose values an optimiser chose. Its training, its model files and its measurements are
where those of any point are; this folder holds only the rest. `kdbench.workflows.search` composes these.
"""
