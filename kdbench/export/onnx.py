"""Export of a trained network to an ONNX file, and the parity check: both have equal logits on the same real inputs.

torch's current exporter writes the file, with a dynamic batch and the weights inside.
"""

import contextlib
import functools
import importlib
import io
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError, first_line
from kdbench.export.integers import fold_batch_norm
from kdbench.files import storage
from kdbench.results.metrics import parity_tolerance

INPUT, OUTPUT = "input", "logits"
# A protobuf message is limited to 2 GiB; larger networks keep their weights in a second file.
_INLINE_LIMIT_BYTES = 1_800_000_000
_STACK_TRACE = "pkg.torch.onnx.stack_trace"
_FIND_COMPOSITE = "_materialize_cpp_cia_ops"  # in torch._export.utils
_PARITY_BATCH = 32  # small, so that large images need little memory
# In a network that rounds its activations, one image in ten may hit a rounding boundary in only one of the two.
_ROUNDED_SHARE = 0.9


class ExportError(KdbenchError):
    """A network that torch's exporter cannot turn into ONNX."""


def export_onnx(
    network: nn.Module, input_shape: tuple[int, ...], path: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Write `network` to `path`: input "input" (batch, *input_shape) of `dtype`, output "logits" (batch, classes).

    The network is put in evaluation mode. Batch norm that follows a layer with integer weights is folded into it.
    Raises ExportError with the exporter's reason.
    """
    network.eval()
    # Two samples: with one, the exporter treats the batch as a constant.
    example = torch.zeros(2, *input_shape, dtype=dtype)
    _write(network, path, network.state_dict(), (example,), {"dynamic_shapes": ({0: torch.export.Dim("batch")},)})


def export_program(
    program: torch.export.ExportedProgram, path: Path, outputs: Sequence[str] | None = (OUTPUT,)
) -> None:
    """Write an exported program to `path`, with the sizes that it was exported with.

    Its input is called "input". `outputs` are the names of its outputs in their order, None for the exporter's own.
    Raises ExportError with the exporter's reason.
    """
    _write(program, path, program.state_dict, (), {}, outputs)


def _write(
    network: nn.Module | torch.export.ExportedProgram,
    path: Path,
    weights: Mapping[str, Tensor],
    inputs: tuple[Tensor, ...],
    options: Mapping[str, Any],
    outputs: Sequence[str] | None = (OUTPUT,),
) -> None:
    """Write a program, or a network that is traced with `inputs` and the `options` of the exporter."""
    weights_bytes = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    try:
        # A file has no gradients, and without them the exporter does less for each operation.
        with _quiet(), torch.no_grad():
            _cache_operator_table()
            if options:
                network(*inputs)  # a network may compute tables in its first call; traced ones hold no numbers
            with _composite_operators_cached():
                program = _program(network, inputs, options, outputs)
                if options and isinstance(program.model.graph.inputs[0].shape[0], int):
                    program = _traced_bytecode(network, inputs, options) or program
    except Exception as error:  # the exporter runs user code, and wraps some of its errors
        message = f"the network cannot be exported to ONNX: {_reason(error)}"
        raise ExportError(message, "use layers that torch.export supports") from error
    fold_batch_norm(program.model)
    for node in program.model.graph.all_nodes():  # stack traces hold local paths, and fill a sixth of a small file
        node.metadata_props.pop(_STACK_TRACE, None)
    with storage.replacing(path) as temporary:
        if weights_bytes < _INLINE_LIMIT_BYTES:
            program.save(temporary, external_data=False)
        else:  # the file refers to its weights by a name that fits `path`
            import onnx_ir as ir

            ir.save(program.model, temporary, external_data=f"{path.name}.data")


def _program(
    network: nn.Module | torch.export.ExportedProgram,
    inputs: tuple[Tensor, ...],
    options: Mapping[str, Any],
    outputs: Sequence[str] | None = (OUTPUT,),
) -> Any:
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": outputs}
    return torch.onnx.export(network, inputs, dynamo=True, verbose=False, **names, **options)


def _traced_bytecode(network: Any, inputs: tuple[Tensor, ...], options: Mapping[str, Any]) -> Any:
    """Return the program of a network whose batch size the exporter treated as a constant; None if that fails.

    When the network runs, `len(x)` is a Python integer. In its bytecode, which `strict` analyses, it is the batch size.
    """
    try:
        return _program(torch.export.export(network, inputs, strict=True, **options), (), {})
    except Exception:  # noqa: BLE001 - the exporter runs user code
        return None


def _cache_operator_table() -> None:
    """Make torch build its table of ONNX operators once, not for every file: that takes about a second.

    The table does not change, because no call here adds operators. Versions of torch without this function stay as they
    are.
    """
    registration = importlib.import_module("torch.onnx._internal.exporter._registration")
    registry = getattr(registration, "ONNXRegistry", None)
    if registry is not None and not hasattr(registry.from_torchlib, "cache_info"):
        registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))


@contextlib.contextmanager
def _composite_operators_cached():  # type: ignore[no-untyped-def]  # noqa: ANN202 - a generator of nothing
    """Make torch search the composite operators of C++ once per file.

    Otherwise it searches twice for each of thirty namespaces, which takes a third of the time for a small network.
    Versions of torch without this function stay as they are.
    """
    utilities = importlib.import_module("torch._export.utils")
    find = getattr(utilities, _FIND_COMPOSITE, None)
    if find is None:
        yield
        return
    find()
    setattr(utilities, _FIND_COMPOSITE, lambda: None)
    try:
        yield
    finally:
        setattr(utilities, _FIND_COMPOSITE, find)


def _reason(error: BaseException) -> str:
    """Return the first line of an error's root cause; the exporter's own error only names the step that failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]  # noqa: ANN202 - a generator of nothing
    """Keep the exporter's output, which ignores `verbose`, and its traces of failures off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@dataclass(frozen=True)
class Parity:
    """Largest absolute difference of logits over `samples` inputs, and whether it is within `tolerance`.

    For a network that rounds its activations, `quantile` is compared instead: the 90 % quantile of the differences.
    Both are NaN if the network or the file returns a logit that is not finite.
    """

    max_abs: float
    tolerance: float
    samples: int
    quantile: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all logits are finite."""
        return math.isfinite(self.max_abs)

    @property
    def difference(self) -> float:
        """The difference to compare with the tolerance."""
        return self.max_abs if self.quantile is None else self.quantile

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance, so that measurements of the file hold for the network."""
        return self.difference <= self.tolerance


def check_parity(
    network: nn.Module, path: Path, images: Tensor, *, rounding: Tensor | None = None, batch: int = _PARITY_BATCH
) -> Parity:
    """Compare `network` with the ONNX file at `path` on normalised `images` (N, …), or token ids.

    Of several outputs, the result is that of one that differs too much, if any. Both run at `batch`; if the file has a
    fixed batch, N is a multiple of it. `rounding` (N,) is for a network that rounds its activations to a grid: how far
    each image's logits may differ when sums differ in their last digits. The file then runs without optimisations, with
    which onnxruntime would replace floating-point computations by integer ones with rounded biases. Raises ExportError
    if the file has another number of outputs.
    """
    network.eval()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # onnxruntime's threads would otherwise spin while those of torch compute the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if rounding is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = []
    for part in torch.split(images, batch):
        with torch.no_grad():
            expected = [tensor.numpy() for tensor in output_tensors(network(part))]
        parts.append((len(part), expected, session.run(None, {name: part.numpy()})))
    _, expected, returned = parts[0]
    if len(expected) != len(returned):
        message = f"the network returns {len(expected)} tensors, and its ONNX file {len(returned)}"
        raise ExportError(message, "wrap it in a network that returns only the logits")
    floats = [place for place, values in enumerate(expected) if values.dtype.kind == "f"] or range(len(expected))
    outputs = [[(size, values[place], others[place]) for size, values, others in parts] for place in floats]
    parities = [_parity_of(one, rounding) for one in outputs]
    failing = [parity for parity in parities if not parity.holds]
    return max(failing or parities, key=lambda parity: parity.difference)


def output_tensors(output: Any) -> list[Tensor]:
    """Return the tensors of a network's output: itself, or those of a tuple, a list or a dictionary, in their order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return output_tensors(list(output.values()))
    parts = output if isinstance(output, (tuple, list)) else ()
    return [tensor for part in parts for tensor in output_tensors(part)]


def _parity_of(parts: Sequence[tuple[int, Any, Any]], rounding: Tensor | None) -> Parity:
    """Return the parity of one output: the sizes of batches, with what the network and the file return for each."""
    differences, largest = [], 0.0
    for size, expected, returned in parts:
        rows = size if expected.shape[:1] == (size,) else 1  # an output may be one number for the whole batch
        # numpy's maximum, unlike Python's, lets NaN through.
        difference = np.subtract(expected, returned, dtype=np.result_type(expected, np.float16))  # of bools too
        differences.append(np.abs(difference).reshape(rows, -1).max(axis=1))
        largest = float(np.maximum(largest, np.abs(expected).max()))
    by_image = np.concatenate(differences)
    max_abs, tolerance = float(by_image.max()), parity_tolerance(largest)
    samples = sum(size for size, *_ in parts)
    if rounding is None:
        return Parity(max_abs, tolerance, samples)
    allowed = float(torch.quantile(rounding, _ROUNDED_SHARE))
    quantile = float(np.quantile(by_image, _ROUNDED_SHARE))
    return Parity(max_abs, max(tolerance, allowed), samples, quantile)
