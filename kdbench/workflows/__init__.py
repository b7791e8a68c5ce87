"""The operations that users start: run, train, bench, remeasure and others, each a composition of stages.

`stages/` has what workflows share. May import everything below; `cli`, `testing` and the lazy public API import it.
"""
