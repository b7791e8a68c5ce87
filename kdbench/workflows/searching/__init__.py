"""What a search is made of: its trials in the run's folder, the choice of the next one, and the end of poor ones.

A trial is a point of a sweep whose values an optimiser chose. Its training, its model files and its measurements lie
where those of any point do; here is only what they do not say. `kdbench.workflows.search` composes these.
"""
