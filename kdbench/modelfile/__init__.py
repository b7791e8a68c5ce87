"""Facts in a model file, read without running it: input, output, layout, weights, sizes.

Imports onnx inside functions; no runtime and no torch.
"""
