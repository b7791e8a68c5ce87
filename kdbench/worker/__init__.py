"""The measuring process: how it starts, its jobs, and the code that runs inside it.

That code imports numpy and one runtime, so that nothing else shares caches, threads and memory. May import `meters`,
`machine.cores`, `machine.memory` and the base layer; `measure`, `testing` and `cli` import it, to start processes.
"""
