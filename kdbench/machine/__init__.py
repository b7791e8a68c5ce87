"""The machine that measures: facts, cores, memory, throttling and load, and the lock for one measurement at a time.

Measuring processes import `cores`, `memory`, `nvidia` and `system_files`, which need only the standard library. The
rest may use `results` (records and diagnostics). All packages above `recipe` may import this folder; nothing here
depends on a measuring pass.
"""
