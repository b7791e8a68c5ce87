"""Compression of model files: from an ONNX file to a smaller variant of it. A method is one file and registers itself.

A method is a class of settings with one function, from a file (and calibration inputs, if it needs some) to a new file.
`methods/` has one file each, `quantization/` the steps that they share; this folder has the code for graphs and
calibration that both need. Nothing here depends on data sets or trainers: `workflows.compress` passes prepared inputs,
and writes the cards. onnx and onnxruntime are imported inside functions.

    from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source

    @COMPRESSORS.register("copy")
    class Copy(Compressor):
        \"\"\"The same file.\"\"\"

        def compress(self, source: Source, target: Path) -> Outcome:
            shutil.copyfile(source.path, target)
            return Outcome()
"""

from kdbench.compress.calibration import Calibration
from kdbench.compress.method import Compressor, Outcome, Source
from kdbench.registry import Registry

__all__ = ["COMPRESSORS", "Calibration", "Compressor", "Outcome", "Source"]

COMPRESSORS: Registry[type[Compressor]] = Registry(
    "compression method", package="kdbench.compress.methods", group="kdbench.compressors"
)
"""The methods by the names that `--method` and recipes use. Other distributions register theirs by an entry point."""
