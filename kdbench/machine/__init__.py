"""The machine that measures: facts, cores, memory, throttling and load, and the lock for one measurement at a time.

Measuring processes import `cores`, `memory`, `nvidia` and `system_files`, which need the standard
library alone. The rest may use `results` (records and diagnostics). Everything above `recipe` may import this folder;
nothing here knows a measuring pass.
"""
