"""A recipe resolved: its trainings in order, data, networks and own code, and what its results are compared with.

The stages import it.
"""
