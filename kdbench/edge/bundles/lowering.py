"""Writing a model for an older onnxruntime: a lower IR version, and a lower opset where its operators have one."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench.edge.bundles.checks import Limits
from kdbench.edge.exchange.parity import parity
from kdbench.edge.exchange.plan import Tolerance
from kdbench.errors import InputError, first_line
from kdbench.files import storage
from kdbench.modelfile.formats.external_data import external_files
from kdbench.modelfile.graphs.graph import opset
from kdbench.modelfile.graphs.weights import tensors_of
from kdbench.modelfile.reading import read_model


def lowered(path: Path, folder: Path, limits: Limits) -> tuple[Path, str]:
    """Write the model at `path` to `folder` within the limits; return the file, and what changed.

    Raises InputError where it cannot be converted. Whether it computes the same is for `require_same`.
    """
    import onnx
    from onnx import version_converter

    model = read_model(path)
    if external_files((tensor for _, tensor in tensors_of(model)), path):
        message = f"{path} keeps its weights in other files, and cannot be rewritten for an older onnxruntime"
        raise InputError(message, f"export it again with opset_version={limits.opset}")
    before_ir, before_opset = model.ir_version, opset(model)
    changes = []
    if before_opset > limits.opset:
        try:
            model = version_converter.convert_version(model, limits.opset)
        except Exception as error:  # a C++ exception of any kind
            message = f"{path} cannot be converted from opset {before_opset} to {limits.opset}: {first_line(error)}"
            raise InputError(message, f"export it again with opset_version={limits.opset}") from error
        changes.append(f"opset {before_opset} → {limits.opset}")
    if before_ir > limits.ir or model.ir_version > limits.ir:
        model.ir_version = limits.ir
        changes.append(f"IR version {before_ir} → {limits.ir}")
    target = folder / path.name
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        message = f"{path} is not valid with {' and '.join(changes)}: {first_line(error)}"
        raise InputError(message, f"export it again with opset_version={limits.opset}") from error
    with storage.writing(target) as stream:
        stream.write(model.SerializeToString(deterministic=True))
    return target, ", ".join(changes)


def require_same(name: str, outputs: NDArray[np.generic], original: NDArray[np.generic], tolerance: Tolerance) -> None:
    """Raise InputError unless a lowered file's `outputs` (N, values) are those of the original within the tolerance."""
    compared = parity(outputs, original, tolerance)
    if compared.failed:
        message = f"{name} returns other outputs with lower versions: they differ by {compared.max_abs:.3g}"
        raise InputError(message, "export it again with a lower opset_version")
