"""Transforms: user code that changes whole batches, as a function or as a class whose instances are callable.

    def jitter(inputs, generator, strength=0.1):     # (B, …) as stored, a torch.Generator -> (B, …), the same dtype
        ...

Inputs are on the device, not normalised: uint8 images (B, C, H, W), or numbers. Options of the recipe are keyword
arguments of the function or of the class. All random numbers depend on (seed, epoch, batch), including those of the
global generators of torch, numpy and Python, so that a resumed training repeats them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kdbench import plugins
from kdbench.data.selection import key_of
from kdbench.errors import InputError
from kdbench.plugins.calling import parameters_of
from kdbench.plugins.seeding import seeded
from kdbench.registry import Registry, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from kdbench.recipe import Transform

TRANSFORMS: Registry[Any] = Registry(
    "transform", package="kdbench.data", group="kdbench.transforms", imported=plugins.imported
)
_STREAM = 0x7472616E


class Transforming:
    """Applies a recipe's transform to whole batches; the same batch of the same epoch changes in the same way."""

    def __init__(self, transform: Transform, seed: int) -> None:
        self._subject = f"transform {transform.name!r}"
        self._seed = seed
        self._function = _function(TRANSFORMS.get(transform.name), transform.options, self._subject)

    def __call__(self, inputs: torch.Tensor, epoch: int, number: int) -> torch.Tensor:
        """Return the transformed inputs (B, …) of batch `number` of an epoch.

        Raises InputError if the transform fails, or returns something of another shape or type.
        """
        import torch

        key = key_of(_STREAM, self._seed, epoch, number)
        devices = [inputs.device] if inputs.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices), seeded(key):
            torch.manual_seed(key)
            generator = torch.Generator(device=inputs.device).manual_seed(key)
            changed = plugins.called(self._function, {}, {"inputs": inputs, "generator": generator}, self._subject)
        if not isinstance(changed, torch.Tensor) or changed.shape != inputs.shape or changed.dtype != inputs.dtype:
            described = f"{tuple(inputs.shape)} {inputs.dtype}"
            form = f"{tuple(changed.shape)} {changed.dtype}" if isinstance(changed, torch.Tensor) else type(changed)
            message = f"{self._subject} returns {form} for inputs {described}"
            raise InputError(message, "return a tensor of the same shape and dtype: resize a crop to the original size")
        return changed.contiguous()


def _function(entry: Any, options: dict[str, Any], subject: str) -> Callable[..., Any]:
    """Return a function of `inputs` and `generator`."""
    options = plugins.with_paths(options)
    if isinstance(entry, type):
        entry, options = plugins.called(entry, {}, options, subject), {}
    if not callable(entry):
        raise InputError(f"{subject} is of type {type(entry).__name__}, not a function", "name a function or class")
    named = [p.name for p in parameters_of(getattr(entry, "forward", entry)) if p.kind is not p.VAR_POSITIONAL]
    variadic = any(p.kind is p.VAR_KEYWORD for p in parameters_of(entry)) and not hasattr(entry, "forward")
    for option in () if variadic else options:
        if option not in named[1:]:
            known = [name for name in named[1:] if name != "generator"]
            raise InputError(f"{subject}: unknown option {option!r}", suggestion(option, known, "it has no options"))
    change = partial(entry, **options)
    if "generator" in named:
        return lambda inputs, generator: change(inputs, generator=generator)
    return lambda inputs, generator: change(inputs)  # noqa: ARG005 - `change` uses a global generator
