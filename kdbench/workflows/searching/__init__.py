"""The parts of a search: its trials in the run's folder, the choice of the next one, and the pruning of poor ones.

A trial is a point of a sweep whose values an optimiser chose. It is trained, exported and measured as any point; this
folder has only the rest. `kdbench.workflows.search` composes these.
"""
