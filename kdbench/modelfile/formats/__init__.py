"""The containers of model files: what kind a file is, and how to read those that onnx does not.

Knows no operator of a graph. Everything in `modelfile` may import it.
"""
