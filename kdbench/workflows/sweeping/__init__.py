"""What a sweep is made of: its plan, tasks that any engine can run, what stands already, and one record of all parts.

A task is a JSON message; `tasks.perform` does it, in this process, in another one of this machine, or on a cluster. It
first looks whether its result is in the run's folder, which is all the state there is. `kdbench.workflows.sweep`
composes these; they import `stages` and `study`.
"""
