"""The operations that users start: run, train, bench and remeasure, each a composition of stages.

`stages/` has what workflows share. May import everything below;
`cli`, `testing` and the lazy public API import it.
"""
