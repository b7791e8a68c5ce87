"""The Python API: what `import kdbench` offers, one file an idea. Results are objects that a notebook displays.

`kdbench.__init__` names what is public; everything else in the package is private and may change. Functions take paths
as text or Path, show their progress in a notebook, and raise `KdbenchError`, whose hint a traceback shows. They compose
`workflows`, `judge` and `report`, and are imported when their name is used.
"""
