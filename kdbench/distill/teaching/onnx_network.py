"""An ONNX file as a teacher network that returns logits, executed by onnxruntime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.evaluate.predictions import form_by_values
from kdbench.modelfile.facts import ModelFacts
from kdbench.modelfile.graphs.outputs import Output
from kdbench.plugins import describe_failure

_MIN_PROBABILITY = 1e-30  # probabilities become logits by their logarithm
_EXPORT_LOGITS = "export the logits, or name another output: input.output"


class OpaqueNetwork(nn.Module):
    """A network without accessible layers, for the reason `why`."""

    why = "it has no layers whose features could be used"
    hint = "use methods of logits, such as kd or dkd, or give the teacher's model and its weights"

    @property
    def stages(self) -> tuple[str, ...]:
        """Raise InputError: there are no layers."""
        raise InputError(self.why, self.hint)

    def get_submodule(self, target: str) -> nn.Module:
        """Raise InputError: there are no layers."""
        raise InputError(f"{self.why}, so none is called {target!r}", self.hint)


class OnnxNetwork(OpaqueNetwork):
    """The model in the file at `path`: inputs (B, …) of any device, as the file takes them, to logits (B, classes).

    Integer inputs are quantized by `quantization`, a scale and a zero point. The network has no parameters or layers.
    """

    why = "students can learn only from the logits of an ONNX file: it has no layers whose features could be used"

    def __init__(self, path: Path, facts: ModelFacts, quantization: tuple[float, int] | None = None) -> None:
        super().__init__()
        import onnxruntime as ort

        from kdbench.worker.runtimes.onnxruntime import session_options

        options = session_options(torch.get_num_threads(), spinning=False, fallback=True)
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise InputError(f"onnxruntime cannot load {path}: {error}", "check it with `kdbench bench`") from error
        self._facts, self._quantization = facts, quantization
        self._of_probabilities = facts.output.scored_as == "probabilities"

    def read_form(self, inputs: Tensor, name: str) -> None:
        """Determine from the outputs for some `inputs` (B, …) whether the values are probabilities.

        A graph does not always show it: a softmax may be written as single operators. Raises InputError, with the
        model's `name`, for values that are neither logits nor probabilities, and for a file that fails on the inputs.
        """
        try:
            values = self._run(inputs)
        except Exception as error:  # onnxruntime's exceptions share no base class
            message = f"{name} fails on {len(inputs)} training samples: {describe_failure(error)}"
            raise InputError(message, "check it with `kdbench bench`") from error
        output, columns = self._facts.output, _columns(values, self._facts.output)
        if not np.isfinite(columns).all():
            return  # the check of the network names them
        declared = output.scored_as
        # In the type of the file, on which it depends how closely probabilities add up to 1.
        form = form_by_values(declared, columns.astype(values.dtype) if values.dtype.kind == "f" else columns)
        if form not in {"logits", "probabilities"}:
            message = f"{name} cannot be a teacher: the values of its output {output.shown} are no {declared}"
            raise InputError(message, _EXPORT_LOGITS)
        self._of_probabilities = form == "probabilities"

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, classes), float32, on the inputs' device."""
        columns = torch.from_numpy(_columns(self._run(inputs), self._facts.output))
        logits = columns.clamp_min(_MIN_PROBABILITY).log() if self._of_probabilities else columns
        return logits.to(inputs.device)

    def _run(self, inputs: Tensor) -> Any:
        """Return the values of the output (B, …) as the file gives them."""
        from kdbench.worker.runtimes.onnxruntime import feed

        values = self._as_declared(inputs.detach().cpu().numpy())
        size = self._facts.fixed_batch or len(values)
        declared, name = self._session.get_inputs(), self._facts.output.name
        parts = []
        for start in range(0, len(values), size):
            part = values[start : start + size]
            padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            parts.append(self._session.run([name], feed(declared, self._facts.input_name, padded))[0][: len(part)])
        return np.concatenate(parts)

    def _as_declared(self, values: Any) -> Any:
        """Return inputs in the shape and type that the file declares."""
        declared = self._facts.sample_shape
        if len(declared) != values.ndim - 1:  # the file takes flattened inputs
            values = values.reshape(len(values), *(-1 if size is None else size for size in declared))
        dtype = np.dtype(self._facts.input_dtype)
        if not np.issubdtype(dtype, np.integer):
            return np.ascontiguousarray(values.astype(dtype))
        scale, zero_point = self._quantization or (1.0, 0)
        limits = np.iinfo(dtype)
        grid = np.rint(values / np.float32(scale)) + zero_point
        return np.ascontiguousarray(np.clip(grid, limits.min, limits.max).astype(dtype))


def require_logits(output: Output, name: str) -> None:
    """Raise InputError for an output of the model `name` that holds neither logits nor values that determine them."""
    if output.form not in {"logits", "probabilities", "binary_logit", "binary_probability"}:
        form = output.form.replace("_", " ")
        message = f"{name} cannot be a teacher: its output {output.shown} holds {form}, not logits"
        raise InputError(message, _EXPORT_LOGITS)


def _columns(values: Any, output: Output) -> Any:
    """Return an output's values (B, …) in float32 with one column for each class, (B, classes)."""
    numbers = values.astype(np.float32).reshape(len(values), -1)
    if output.quantization is not None:
        scale, zero_point = output.quantization
        numbers = (numbers - zero_point) * np.float32(scale)
    if output.form == "binary_logit":
        return np.concatenate([np.zeros_like(numbers), numbers], axis=1)
    return np.concatenate([1 - numbers, numbers], axis=1) if output.form == "binary_probability" else numbers
