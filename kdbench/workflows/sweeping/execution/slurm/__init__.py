"""A sweep as Slurm jobs: what `--on slurm:…` says, what each job takes, the engine, and what a job does.

submitit writes and submits the jobs and asks what became of them. The driver decides what runs next and what runs
again, and results are files in the run's folder, which all nodes share. A job whose driver is gone goes on; the next
driver finds it by its note in the folder. submitit is loaded by `engine` alone, when a sweep names Slurm.
"""
