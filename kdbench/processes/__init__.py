"""Processes and what they leave: locks that a child shares, children that end with their parent, temporary files.

Everything may import it; it imports `errors`. `parent`, `locks` and `cleanup` need the standard library alone.
"""
