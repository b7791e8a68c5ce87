"""Child processes that end with their parent, locks that they share, cleanup at exit, temporary files, and memory.

All packages may import it; it imports `errors`. `parent`, `locks`, `cleanup` and `machine_memory` import only the
standard library.
"""
