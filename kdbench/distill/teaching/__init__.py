"""Teachers of a student: networks, ONNX files, tables and arrays of logits, each on its own inputs and classes.

Imports data and methods. The objective and `workflows` import it.
"""
