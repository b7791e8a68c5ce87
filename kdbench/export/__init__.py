"""Export of a trained network to ONNX, and the check that file and network agree.

Imports torch and onnxruntime; `results` for the tolerance.
"""
