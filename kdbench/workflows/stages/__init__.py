"""The stages of workflows, each of which turns the previous stage's value into the next.

A stage may import everything below `workflows`. Workflows, their child processes (`workers`) and `testing` import
stages.
"""
