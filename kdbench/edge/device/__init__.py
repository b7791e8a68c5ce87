"""The program that runs on the device, with only Python 3.9, the standard library, numpy and onnxruntime.

`run.py` is at the top of a bundle and performs the steps in order. They run the package's own measuring processes,
sessions and statistics, which the bundle takes along (`kdbench.edge.bundles.closure`). May import `measure.runner`,
`measure.latency.sessions`, `measure.energy.windows`, `worker`, `meters`, `machine` and `statistics`.
"""
