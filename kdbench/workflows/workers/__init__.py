"""The child processes of workflows, one file each, started with `python -m`: they train, export or run a sweep's tasks.

They compose stages, as workflows do. Nothing imports them: the parent process names the module to start.
"""
