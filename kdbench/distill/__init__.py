"""Training of teachers and students: losses (pure functions), methods (one file each), the objective, the loop.

May import recipe, data, models, machine and results; knows neither measuring nor reports.
"""
