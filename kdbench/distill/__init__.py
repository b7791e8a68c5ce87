"""Training teachers and students: pure losses, one file per method, one fit."""
