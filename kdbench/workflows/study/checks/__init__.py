"""What is tried once before anything trains: networks, what they save, and the user's methods and transforms.

`stages.check` imports them. They import the rest of `study`, which imports none of them.
"""
