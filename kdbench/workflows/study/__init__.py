"""A resolved recipe: its trainings in order, its data, networks and user code, and the references for its results.

The stages import it.
"""
