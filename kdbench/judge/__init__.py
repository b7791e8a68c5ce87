"""Judge records: a run against a target, a run against another, a metric over many runs.

Pure functions from `results` to verdicts, comparisons and histories belong here, and the shipped `targets/`. They
import `results`, `statistics` and the base layer only; `workflows`, `testing` and `cli` import them.
"""
