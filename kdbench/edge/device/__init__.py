"""What runs on the device: Python 3.9, the standard library, numpy and onnxruntime alone.

`run.py` lies at the top of a bundle and goes through the steps in order. They run the package's own measuring
processes, sessions and statistics, which the bundle takes along (`kdbench.edge.bundles.closure`). May import
`measure.runner`, `measure.latency.sessions`, `measure.energy.windows`, `worker`, `meters`, `machine` and `statistics`.
"""
