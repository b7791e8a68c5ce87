"""The probes of measuring processes, one file each: `run(job, channel) -> JSON values`. numpy and onnxruntime only."""
