"""Judge records: a run against a target, a run against another, a metric over many runs.

Pure functions from `results` to verdicts, comparisons and histories belong here, and the shipped `targets/`. Imports
nothing above `results`, `statistics` and `validation`; `workflows`, `testing` and the shell import it.
"""
