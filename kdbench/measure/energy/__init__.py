"""Energy: joules by source, between updates of the sources' counters. No estimate replaces a missing counter.

The parts of the energy pass, and the meter of trainings. May import `measure.runner`, `meters`, `statistics` and what
`measure` may; the passes and `workflows.stages` import it.
"""
