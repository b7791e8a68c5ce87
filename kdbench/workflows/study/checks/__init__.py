"""Checks before anything trains: of networks, of their state dicts, and of the user's methods and transforms.

`stages.check` imports them. They import the rest of `study`, which does not import them.
"""
