"""Measuring model files: the harness, its passes, and what prepares and runs their measuring processes.

May import `evaluate`, `worker`, `macs`, `meters` and everything below; never a trainer, `judge` or `report`.
`workflows`, `testing` and `cli` import it.
"""
