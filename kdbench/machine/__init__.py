"""The machine that measures: its cores and memory, what else happens on it, and that one measures at a time."""
