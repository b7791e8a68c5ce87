"""Checks before anything trains: of networks, their state dicts, token ids, and the user's methods and transforms.

`stages.check` imports them. They import the rest of `study`, which does not import them.
"""
