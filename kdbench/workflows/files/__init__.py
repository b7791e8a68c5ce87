"""Models that kdbench did not train, as models to measure: ONNX files and torch networks of unknown origin.

`bench`, `remeasure`, `testing` and the command line import it.
"""
