"""How tasks run: the schedule, the loop that works it off, and the engines, for this machine, a Ray cluster or Slurm.

What a task does is a function that an engine is given, so nothing here imports the rest of a sweep.
"""
