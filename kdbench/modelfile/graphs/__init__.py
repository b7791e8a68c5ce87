"""What an ONNX graph says: its nodes and the way between them, weights, inputs, outputs, names of classes.

Each module answers one question about a loaded graph. Imports `formats`, for weights outside the file.
"""
