"""What users start: run, train, bench and remeasure, each a composition of stages.

`stages/` has what workflows share. The command line, `testing` and the lazy public API import workflows.
"""
