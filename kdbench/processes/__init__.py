"""Child processes that end with their parent, locks that they share, cleanup at exit, and temporary files.

All packages may import it; it imports `errors`. `parent`, `locks` and `cleanup` import only the standard library.
"""
