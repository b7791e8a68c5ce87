"""What `pytest --benchmark` does: models measured once a session, bounds held against what was found, and the summary.

`kdbench.pytest_plugin` is the door. pytest loads `settings`, `selection`, `gathering` and `judged` in every project of
the environment, so they import next to nothing; the rest is loaded when a test asks for the fixture `kdbench`.
"""
