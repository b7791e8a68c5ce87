"""Writing a model for an older onnxruntime: a lower IR version, and a lower opset where its operators have one."""

from pathlib import Path
from typing import Any

import numpy as np

from kdbench.edge.bundles.checks import Limits, opset_of
from kdbench.errors import InputError, first_line
from kdbench.modelfile.external_data import external_files
from kdbench.modelfile.facts import read_model
from kdbench.modelfile.weights import tensors_of

_SHARE = 1e-5  # of the largest output: the lowered file computes the same
_SAMPLES = 4


def lowered(path: Path, folder: Path, limits: Limits) -> tuple[Path, str]:
    """Write the model at `path` to `folder` within the limits; return the file, and what changed.

    Its outputs for random inputs are compared with the original's. Raises InputError where it cannot be converted, or
    computes something else.
    """
    import onnx
    from onnx import version_converter

    model = read_model(path)
    if external_files((tensor for _, tensor in tensors_of(model)), path):
        message = f"{path} keeps its weights in other files, and cannot be rewritten for an older onnxruntime"
        raise InputError(message, f"export it again with opset_version={limits.opset}")
    before_ir, before_opset = model.ir_version, opset_of(model)
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
    target.write_bytes(model.SerializeToString(deterministic=True))
    _require_same(path, target)
    return target, ", ".join(changes)


def _require_same(path: Path, target: Path) -> None:
    """Raise InputError unless both files compute the same outputs for random inputs."""
    import onnxruntime

    from kdbench.worker.runtimes.onnxruntime import FAULTS, feed, session_options

    rng = np.random.default_rng(0)
    outputs: list[list[Any]] = []
    for file in (path, target):
        try:
            options = session_options(1, spinning=False, fallback=True)
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            declared = session.get_inputs()
            first = declared[0]
            open_sizes = [_SAMPLES, *[1] * len(first.shape)]
            shape = [size if isinstance(size, int) else n for size, n in zip(first.shape, open_sizes, strict=False)]
            if not outputs:
                kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}.get(first.type, np.float32)
                inputs = rng.standard_normal(shape).astype(kind) if "float" in first.type else np.ones(shape, np.int64)
            outputs.append(session.run(None, feed(declared, first.name, inputs)))
        except FAULTS as error:
            message = f"{file.name} does not run with lower versions: {first_line(error)}"
            raise InputError(message, "export it again with a lower opset_version") from error
    for before, after in zip(*outputs, strict=True):
        apart = np.abs(np.asarray(before, np.float64) - np.asarray(after, np.float64)).max(initial=0.0)
        if not apart <= _SHARE * max(float(np.abs(np.asarray(before, np.float64)).max(initial=0.0)), 1e-30):
            message = f"{path.name} returns other outputs with lower versions: they differ by {apart:.3g}"
            raise InputError(message, "export it again with a lower opset_version")
