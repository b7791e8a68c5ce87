"""A sweep on a Ray cluster: the connection, the resources of nodes, the engine, and the process on a node.

Ray starts processes on nodes, reports when they end and transfers messages. The driver decides what runs next and what
runs again, and results are files in the run's folder, which all nodes share. Only `connecting` loads Ray, when a sweep
names a cluster.
"""
