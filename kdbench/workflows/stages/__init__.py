"""The stages of workflows, each of which turns the previous stage's value into the next.

A stage may import everything below `workflows`. Only workflows, `testing` and the training processes that a stage
starts import stages.
"""
