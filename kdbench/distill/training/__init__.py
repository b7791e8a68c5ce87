"""The training of one network: the loop and what it needs, from devices to checkpoints and curves.

Imports the objective. `workflows` imports it.
"""
