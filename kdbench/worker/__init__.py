"""The measuring process: how it is started, what it is sent, and what runs inside it.

Code that runs inside it imports numpy and one runtime, so that nothing else shares its caches, threads and memory.
"""
