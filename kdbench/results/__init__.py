"""The results of a run: the values on disk, and how they are read and written.

Cards, records, findings, verdicts, comparisons and histories are frozen values that hold numbers only; `metrics/` has
their units and meaning, `samples` the arrays behind them, `run_folder` the place of each file. Imports `statistics` and
the base layer; everything that measures, judges or reports imports it.
"""
