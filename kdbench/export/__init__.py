"""Export of a trained network to ONNX, and the check that file and network agree.

Imports torch and onnxruntime, `plugins`, and `results` for the tolerance. Only `workflows.stages` imports it.
"""
