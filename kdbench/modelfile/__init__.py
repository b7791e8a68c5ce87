"""Facts in a model file, read without running it: input, output, layout, weights, sizes.

`formats` reads the containers, `graphs` the ONNX graph; the modules here combine both. Imports `results` and the base
layer, and onnx inside functions; no runtime and no torch. `macs`, `measure`, `workflows`, `testing` and `cli` import
it.
"""
