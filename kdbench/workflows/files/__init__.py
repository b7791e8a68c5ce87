"""Models that kdbench did not train, as models to measure: ONNX files and torch networks of unknown origin.

`bench`, `remeasure`, `study` (pretrained teachers), `testing` and the command line import it.
"""
