"""Check that a network can be trained, exported and used as a teacher: on real inputs, before anything trains.

kdbench's own networks are known to export and to treat samples independently: only their outputs are checked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.dataset import Task
from kdbench.distill.quantize import deployed, is_quantized
from kdbench.errors import InputError, StorageError
from kdbench.export.onnx import ExportError, check_parity, export_onnx
from kdbench.modelfile.graphs.outputs import outputs_of
from kdbench.modelfile.reading import read_model
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins import describe_failure
from kdbench.processes import temporary
from kdbench.results.metrics import parity_tolerance
from kdbench.workflows.study.checks import saved_states as state_checks

SAMPLES = 3  # a batch size that no forward is written for
_KNOWN_MODULES = ("kdbench.", "torch.nn.")
_FREE_BATCH = "replace fixed batch sizes in its forward, such as view(64, -1), by x.flatten(1)"
_USE_FLOAT32 = "compute in float32: call float() on the network, and remove double()"
_NO_NEIGHBOURS = "in evaluation mode no sample may depend on its batch: let batch norm track its statistics"
_ROUNDING = 1e-4  # of a sum of probabilities
_PROBABILITY_FUNCTIONS = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
_SHAPE_FUNCTIONS = (
    "View",
    "UnsafeView",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Select",
    "Alias",
    "Clone",
    "ToCopy",
)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_LOGITS_ONLY = "return the logits alone, a tensor (batch, {outputs})"


def require_usable(
    network: nn.Module,
    inputs: Tensor,
    outputs: int,
    name: str,
    *,
    task: Task = "classification",
    trains: bool = True,
    exported: bool = True,
    rebuild: Callable[[], nn.Module] | None = None,
) -> None:
    """Raise InputError unless `network` maps normalised `inputs` (3, …) to logits (3, outputs), and exports to ONNX.

    `name` is the model's, for messages. `rebuild` builds the network again, with the same seed and file. A network is
    called in training mode only if it `trains`, and exported only if `exported`. Changes batch norm's statistics.
    Raises ExportError if it does not export.

        require_usable(resnet, torch.rand(3, 3, 32, 32), 10, "teacher")
    """
    subject = f"the network of {name!r} ({type(network).__name__})"
    state_checks.require_tensors(network, subject)
    rebuilt = None if rebuild is None or is_standard(network) else rebuild()
    if rebuilt is not None:
        state_checks.require_seeded(network, rebuilt, subject)
    with evaluation_mode(network):
        logits = _logits(network, inputs, outputs, subject)
        _require_plain_numbers(logits, subject)
        if is_standard(network):
            return
        if task == "classification":
            _require_no_probabilities(logits, subject)
        _require_independent_samples(network, inputs, logits, outputs, subject)
    if trains:
        _require_trainable(network, inputs, outputs, subject, task)
    if rebuilt is not None:
        state_checks.require_complete_state(network, rebuilt, inputs, subject, trains=trains)
    if exported:
        _require_export(network, inputs, subject, task)


def is_standard(network: nn.Module) -> bool:
    """Return whether a network is one of kdbench, with layers of kdbench and torch only."""
    kinds = {type(module).__module__ + "." for module in network.modules()}
    return type(network).__module__.startswith("kdbench.") and all(kind.startswith(_KNOWN_MODULES) for kind in kinds)


def _logits(network: nn.Module, inputs: Tensor, outputs: int, subject: str) -> Tensor:
    """Return the logits of a network for `inputs`; raises InputError for anything else than (B, outputs)."""
    fed = inputs.clone()
    try:
        with torch.set_grad_enabled(network.training):
            output = network(fed)
    except InputError:
        raise
    except Exception as error:  # user code
        raise _call_error(network, inputs, error, subject) from error
    if not torch.equal(fed, inputs):
        message = f"{subject} changes its inputs in place, although other networks use the same tensor"
        raise InputError(message, "copy them first: inputs = inputs.clone(), or leave out inplace=True")
    _require_logits(output, len(inputs), outputs, subject, training=network.training)
    logits: Tensor = output
    return logits


def _call_error(network: nn.Module, inputs: Tensor, error: Exception, subject: str) -> InputError:
    """Return the error for a network that fails on a batch."""
    reason = describe_failure(error)
    shape = tuple(inputs.shape)
    mode = "training" if network.training else "evaluation"
    message = f"{subject} fails in {mode} mode on inputs {shape}: {reason}"
    if isinstance(error, TypeError) and "argument" in reason:
        hint = "kdbench calls it with the inputs alone: give its other arguments defaults, or wrap it in a module"
        return InputError(message, hint)
    if not network.training:
        works = [batch for batch in _BATCHES if _works(network, inputs, batch)]
        if len(inputs) == 1 and works == list(_BATCHES[1:]):
            return InputError(message, _NO_NEIGHBOURS)
        if works:
            batches = ", ".join(map(str, works))
            return InputError(f"{message}; it takes only batches of {batches}", _FREE_BATCH)
    hint = f"call it in Python on torch.rand{shape} to find the cause, such as too small inputs or a fixed batch"
    return InputError(message, hint)


def _works(network: nn.Module, inputs: Tensor, batch: int) -> bool:
    repeated = inputs.repeat(-(-batch // len(inputs)), *(1,) * (inputs.dim() - 1))[:batch]
    try:
        with torch.no_grad():
            network(repeated)
    except Exception:  # noqa: BLE001 - user code
        return False
    return True


def _require_logits(output: object, batch: int, outputs: int, subject: str, *, training: bool) -> None:
    if isinstance(output, Tensor) and output.shape == (batch, outputs):
        return
    mode = "in training mode " if training else ""
    message = f"{subject} returns {mode}{_described(output)} for {batch} inputs, not logits ({batch}, {outputs})"
    raise InputError(message, _output_hint(output, batch, outputs))


def _output_hint(output: object, batch: int, outputs: int) -> str:
    """Return the hint for an output that is not a tensor (batch, outputs)."""
    if isinstance(output, Tensor):
        return _shape_hint(output, batch, outputs)
    if hasattr(output, "logits"):
        return "return outputs.logits in its forward, or wrap it in a module that does"
    items: list[tuple[Any, Any]] = []
    if isinstance(output, Mapping):
        items = list(output.items())
    elif isinstance(output, tuple | list):
        items = list(enumerate(output))
    matching = [key for key, value in items if isinstance(value, Tensor) and value.shape == (batch, outputs)]
    key = "logits" if "logits" in dict(items) else next(iter(matching), None)
    return _LOGITS_ONLY.format(outputs=outputs) if key is None else f"return outputs[{key!r}] in its forward"


def _shape_hint(output: Tensor, batch: int, outputs: int) -> str:
    """Return the hint for a tensor that is not (batch, outputs)."""
    hint = _LOGITS_ONLY.format(outputs=outputs)
    if output.dim() == 1 and batch == 1 and len(output) == outputs > 1:
        hint = "it drops the batch of one sample: name the dimension to drop, such as squeeze(-1)"
    elif output.dim() == 0 or output.shape[0] != batch:
        hint = f"{hint}; {_FREE_BATCH}"
    elif output.dim() == 1 and outputs == 1:
        hint = "return outputs.unsqueeze(1)"
    elif output.dim() == 2:
        hint = f"give its last layer {outputs} outputs, as many as the data has"
    elif output[0].numel() == outputs:
        hint = "return outputs.flatten(1)"
    elif output.dim() > 2 and output.shape[-1] == outputs:
        hint = "return the logits of one position, such as outputs[:, 0], or their mean, such as outputs.mean(1)"
    return hint


def _described(output: object) -> str:
    """Return the type and the shapes of a network's output, for messages."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    kind = type(output).__name__
    if isinstance(output, Mapping) and not output:
        return f"an empty {kind}"
    if isinstance(output, Mapping):
        return f"{kind} with {', '.join(f'{key}: {_shape(value)}' for key, value in output.items())}"
    if isinstance(output, tuple | list):
        return f"{kind} of {', '.join(map(_shape, output)) or 'nothing'}"
    return "None" if output is None else kind


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _require_plain_numbers(logits: Tensor, subject: str) -> None:
    if logits.dtype not in {torch.float32, torch.float64}:
        kind = str(logits.dtype).removeprefix("torch.")
        floating = logits.is_floating_point()
        hint = "return outputs.float()" if floating else "return the logits, not the class that they name"
        raise InputError(f"{subject} returns {kind}, not float32", hint)
    if not logits.isfinite().all():
        message = f"{subject} returns NaN or infinite numbers for the first training inputs"
        raise InputError(message, "check its weights, and the data's mean and std")


def _require_no_probabilities(logits: Tensor, subject: str) -> None:
    """Raise InputError for outputs that are probabilities, because the loss would apply softmax again."""
    if logits.shape[1] > 1 and (logits >= 0).all() and (logits.sum(dim=1) - 1).abs().max() < _ROUNDING:
        message = f"{subject} returns probabilities: its outputs are positive and add up to 1"
        raise InputError(message, "return the logits: remove the softmax at its end")


def _require_independent_samples(
    network: nn.Module, inputs: Tensor, logits: Tensor, outputs: int, subject: str
) -> None:
    """Raise InputError for a network whose output for a sample is random or depends on the rest of the batch."""
    tolerance = parity_tolerance(float(logits.abs().max()))
    repeated: list[Tensor] = []
    draws = state_checks.draws_random_numbers(lambda: repeated.append(_logits(network, inputs, outputs, subject)))
    differs = bool((repeated[0] - logits).abs().max() > tolerance)
    if draws or differs:
        problem = "returns different outputs for the same inputs" if differs else "draws random numbers"
        hint = "in evaluation mode, change no state that its outputs depend on, and draw no random numbers"
        if draws:
            hint = "use nn.Dropout, or pass training=self.training to functional.dropout"
        raise InputError(f"{subject} {problem} in evaluation mode", hint)
    for batch in range(1, len(inputs)):
        part = _logits(network, inputs[:batch], outputs, subject)
        difference = float((part - logits[:batch]).abs().max())
        if not difference <= tolerance:
            message = f"{subject} returns other outputs for a sample in a batch of {batch} (by {difference:.3g})"
            raise InputError(message, _NO_NEIGHBOURS)


def _require_trainable(network: nn.Module, inputs: Tensor, outputs: int, subject: str, task: Task) -> None:
    """Raise InputError for a network that in training mode does not return logits with a gradient."""
    if len(inputs) < 2:  # batch norm has no variance for one sample
        return
    with evaluation_mode(network):  # restores the modes afterwards
        network.train()
        logits = _logits(network, inputs, outputs, subject)
        if task == "classification" and (last := _last_function(logits)) in _PROBABILITY_FUNCTIONS:
            raise _no_logits(f"{subject} in training mode", _PROBABILITY_FUNCTIONS[last])
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not parameters:
            raise InputError(f"{subject} has no weights to train", "leave requires_grad of its parameters set")
        if not logits.requires_grad:
            message = f"{subject} returns logits without a gradient"
            raise InputError(message, "leave out torch.no_grad, detach and .data in its forward")
        try:
            logits.float().sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # user code
            message = f"{subject} has no gradient: {describe_failure(error)}"
            raise InputError(message, "avoid in-place operations there, such as inplace=True and +=") from error
        network.zero_grad(set_to_none=True)


def _last_function(values: Tensor) -> str:
    """Return the name in torch's graph of the function that computed `values`, before views, slices and conversions."""
    node = values.grad_fn
    while node is not None and node.name().startswith(_SHAPE_FUNCTIONS) and node.next_functions:
        node = node.next_functions[0][0]
    return "" if node is None else node.name()


def _no_logits(subject: str, function: str) -> InputError:
    message = f"{subject} returns the output of a {function}, not logits: the loss applies softmax itself"
    return InputError(message, f"return the logits: remove the {function} at its end")


def _require_export(network: nn.Module, inputs: Tensor, subject: str, task: Task) -> None:
    with evaluation_mode(network), temporary.folder() as folder:
        path = folder / "network.onnx"
        try:
            export_onnx(deployed(network), tuple(inputs.shape[1:]), path, inputs.dtype)
            parity = check_parity(network, path, inputs)
            (output,) = outputs_of(read_model(path))
        except ExportError as error:
            hint = "return the network before torch.jit" if isinstance(network, torch.jit.ScriptModule) else error.hint
            raise ExportError(f"{subject}: {error.message}", hint) from error
        except StorageError:
            raise
        except Exception as error:  # what the runtime raises for the file
            message = f"{subject} has an ONNX file that does not run on {len(inputs)} inputs: {describe_failure(error)}"
            double = any(value.dtype == torch.float64 for value in network.state_dict().values())
            raise ExportError(message, _USE_FLOAT32 if double else _FREE_BATCH) from error
    if task == "classification" and output.form not in {"logits", "binary_logit"}:
        raise _no_logits(subject, "softmax" if output.form.endswith("probabilities") else "sigmoid or tanh")
    if not parity.holds and not is_quantized(network):  # three samples are too few to judge rounding by
        message = f"{subject} differs from its ONNX file by {parity.difference:.3g}"
        hint = "avoid operations that depend on the values of its inputs (`if`, item()) or on random numbers"
        raise ExportError(message, hint)
