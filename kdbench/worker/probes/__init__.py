"""The probes of measuring processes, one file each: `run(job, channel) -> JSON values`. numpy and onnxruntime only.

A probe may import what `worker` may; only `worker.__main__` imports it, by the name in its job.
"""
