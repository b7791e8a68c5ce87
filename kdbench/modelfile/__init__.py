"""Facts in a model file, read without running it: input, output, layout, weights, sizes.

Imports `results` and the base layer, and onnx inside functions; no runtime and no torch. `macs`, `measure`,
`workflows`, `testing` and `cli` import it.
"""
