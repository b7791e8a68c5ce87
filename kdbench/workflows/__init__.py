"""What users start: run, train, bench and remeasure, each a composition of stages.

`stages/` has what workflows share. Only the command line, the pytest plug-in and the lazy public API import workflows.
"""
