"""A sweep as Slurm jobs: the options of `--on slurm:…`, the request of each job, the engine, and the job's process.

submitit writes and submits the jobs and queries their states. The driver decides what runs next and what runs
again, and results are files in the run's folder, which all nodes share. A job whose driver has ended continues; the
next driver finds it by its note in the folder. Only `engine` loads submitit, when a sweep names Slurm.
"""
