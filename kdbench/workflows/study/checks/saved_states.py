"""Check that saved weights determine a network: a newly built one with these weights must compute the same.

A training keeps only state dicts: of the best epoch, in checkpoints and for the exported file. State elsewhere, in a
plain attribute or in the network's own random generator, would be lost silently.
"""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins import describe_failure
from kdbench.plugins.seeding import seeded

_ROUNDING = 1e-5  # of the largest logit: both networks compute the same
_KEEP = "keep it in a buffer: self.register_buffer(name, tensor) in __init__, and change that in forward"
_MAX_SHOWN = 3


def require_tensors(network: nn.Module, subject: str) -> None:
    """Raise InputError for a state dict that holds other values than tensors: a file of weights cannot store them."""
    others = [name for name, value in network.state_dict().items() if not isinstance(value, Tensor)]
    if others:
        hint = "keep numbers in buffers (register_buffer); get_extra_state must return a tensor, or be removed"
        raise InputError(f"{subject} saves {_listed(others)}, which are not tensors, with its weights", hint)


def require_seeded(network: nn.Module, rebuilt: nn.Module, subject: str) -> None:
    """Raise InputError if a network that was `rebuilt` with the same seed starts with other weights."""
    first, second = network.state_dict(), rebuilt.state_dict()
    if first.keys() != second.keys() or any(first[name].shape != second[name].shape for name in first):
        message = f"{subject} has other weights each time it is built"
        raise InputError(message, "its weights must depend only on its arguments and the seed")
    different = [name for name in first if not torch.equal(_comparable(first[name]), _comparable(second[name]))]
    if different:
        message = f"{subject} starts with other values of {_listed(different)} each time it is built with one seed"
        raise InputError(message, "draw them with torch, numpy.random or random, without a generator of your own")


def require_complete_state(
    network: nn.Module, rebuilt: nn.Module, inputs: Tensor, subject: str, *, trains: bool
) -> None:
    """Raise InputError unless `rebuilt`, with the state dict of a used `network`, returns the same outputs.

    Both are called on a batch of normalised `inputs` in evaluation mode and, if it `trains`, in training mode, with the
    same random numbers.
    """
    for name, value in network.state_dict().items():
        before = rebuilt.state_dict().get(name)
        if before is None or before.shape != value.shape:
            was = "did not exist" if before is None else f"had the shape {tuple(before.shape)}"
            message = f"{subject} has a tensor {name!r} of shape {tuple(value.shape)} that {was} before the first batch"
            hint = "create it in __init__ with its final shape; persistent=False is for buffers that need not be saved"
            raise InputError(message, hint)
    try:
        rebuilt.load_state_dict(network.state_dict())
    except Exception as error:  # user code may override it
        message = f"{subject} cannot load its own state dict: {describe_failure(error)}"
        raise InputError(message, "do not override load_state_dict or its hooks") from error
    if _differ(network, rebuilt, inputs, training=False):
        problem = "returns other outputs after its weights are saved and loaded: it has state outside its state dict"
        raise InputError(f"{subject} {problem}", _KEEP)
    if trains and _differ(network, rebuilt, inputs, training=True):
        message = f"{subject} trains differently after its weights are saved and loaded, as in a resumed training"
        raise InputError(message, f"{_KEEP}; draw random numbers from torch's own generator")


def draws_random_numbers(call: Callable[[], object]) -> bool:
    """Return whether a call takes numbers from the global generators of torch, numpy or Python."""
    before = _generators()
    call()
    return _generators() != before


def _generators() -> tuple[bytes, bytes, int, object]:
    state = np.random.get_state()  # noqa: NPY002 - user code draws from it
    return torch.get_rng_state().numpy().tobytes(), state[1].tobytes(), state[2], random.getstate()  # type: ignore[index]


def _differ(network: nn.Module, rebuilt: nn.Module, inputs: Tensor, *, training: bool) -> bool:
    if training and len(inputs) < 2:  # batch norm has no variance for one sample
        return False
    first, second = (_outputs(built, inputs, training=training) for built in (network, rebuilt))
    return not float((first - second).abs().max()) <= _ROUNDING * max(float(first.abs().max()), 1.0)


def _outputs(network: nn.Module, inputs: Tensor, *, training: bool) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng(devices=[]), seeded(0), evaluation_mode(network):
        torch.manual_seed(0)
        network.train(training)
        outputs: Tensor = network(inputs.clone())
    return outputs.double()


def _comparable(value: Tensor) -> Tensor:
    """Return a tensor in which NaN equals itself."""
    return value.nan_to_num() if value.is_floating_point() else value


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more
