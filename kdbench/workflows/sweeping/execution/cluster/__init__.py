"""A sweep on a Ray cluster: reaching it, what its nodes offer, the engine, and what a node does.

Ray starts processes on nodes and reports when they end. Everything else is the sweep's: the driver decides what runs
next and what runs again, and results are files in the run's folder, which all nodes share. Ray carries only messages.
Ray is loaded by `connecting` alone, when a sweep names a cluster.
"""
