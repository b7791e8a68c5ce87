"""What a measuring process can do, one probe a file: `run(job, channel) -> JSON values`. numpy and onnxruntime only."""
