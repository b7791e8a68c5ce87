"""The stages of workflows, each of which turns the previous stage's value into the next.

A stage may import every lower room. Only workflows, `testing` and the training processes that a stage starts import
stages.
"""
