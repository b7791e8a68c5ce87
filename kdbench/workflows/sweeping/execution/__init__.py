"""How tasks are run: the schedule, the loop that works it off, and the engines, for this machine or a Ray cluster.

What a task does is a function that an engine is given, so nothing here imports the rest of a sweep.
"""
