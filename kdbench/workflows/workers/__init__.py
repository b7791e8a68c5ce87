"""The child processes of workflows, one file each, started with `python -m`: they train, export or do a sweep's tasks.

They compose stages, as workflows do. Nothing imports them; what starts one names its module.
"""
