"""The containers of model files: what kind a file is, how to read those that onnx does not, and external data.

Knows no operator of an ONNX graph. Everything in `modelfile` may import it.
"""
