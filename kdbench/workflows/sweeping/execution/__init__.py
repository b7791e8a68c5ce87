"""How tasks run: the schedule, the loop that runs it, and the engines, for this machine, a Ray cluster or Slurm.

An engine gets the function that performs a task, so nothing here imports the rest of a sweep.
"""
