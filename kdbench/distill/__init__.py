"""Training of teachers and students: losses (pure functions), methods (one file each), the objective, the loop.

May import `data`, `models`, `machine` and the layers below; knows neither export, measuring nor reports. Only
`workflows` imports it.
"""
