"""The parts of a sweep: its plan, tasks that any engine can run, finished results, and one record of all parts.

A task is a JSON message; `tasks.perform` runs it, in this process, in another process of this machine, or on a cluster.
It first checks whether its result is in the run's folder, which is the only state. `kdbench.workflows.sweep` composes
these; they import `stages` and `study`.
"""
