"""Networks by name, for any input size and class count. One file per family; each registers its factories.

A factory maps (name, input shape, classes, options) to a module whose forward maps (B, C, H, W) to logits
(B, classes). Its keyword-only parameters are the model's options, which are validated by their annotations, so a
factory never parses them. Networks here are `Staged`, which names their blocks for feature hooks.

User code may be any class or function that returns a network: `signatures` defines the arguments that kdbench passes.

A file may import torch, `plugins`, `registry` and `errors`, but no data, training or runtime.
`distill`, `workflows` and `cli` import it.
"""

import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field, ValidationError, validate_call

from kdbench import plugins
from kdbench.errors import InputError, KdbenchError
from kdbench.models import signatures
from kdbench.models.memory_limit import within_memory
from kdbench.plugins.wrappers import unwrapped
from kdbench.registry import Registry, is_shipped
from kdbench.user_input.validation import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

MAX_WIDTH = 65_536

PositiveInt = Annotated[int, Field(gt=0, le=100_000_000)]
Width = Annotated[int, Field(gt=0, le=MAX_WIDTH)]
Count = Annotated[int, Field(gt=0, le=1000)]  # layers, networks, a stride
Factor = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Hidden = Annotated[tuple[Width, ...], Field(max_length=1000)]
Widths = Annotated[Hidden, Field(min_length=1)]

InputShape = tuple[PositiveInt, PositiveInt, PositiveInt]
"""Channels, height, width of one sample: the input shape of a factory that builds networks for images."""
SampleShape = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
"""The shape of one sample of any kind: (F,) of vectors, (T, F) of sequences, (T,) of token ids."""


ModelFactory: TypeAlias = "Callable[..., nn.Module]"
"""(name, input_shape, classes, /, *, options) -> network with fresh weights; raises InputError if invalid.

A plug-in may register any other class or function instead: see `kdbench.models.signatures`.
"""

MODELS: Registry[ModelFactory] = Registry(
    "model", package="kdbench.models", group="kdbench.models", imported=plugins.imported
)


def build(
    name: str, input_shape: tuple[int, ...], classes: int, channels: int | None = None, /, **options: Any
) -> "nn.Module":
    """Return the network called `name` for samples of `input_shape`, such as (C, H, W), with fresh weights.

    Its forward maps (B, *input_shape) to logits (B, classes). `name` may be an import path, such as `mynets:MyNet`: the
    class or function is called with the arguments that its signature declares. `channels` is the number of channels of
    a sample, by default the size of its first axis. Raises InputError for an unknown name or option, an invalid value,
    and an input shape that the network cannot take.
    """
    factory = MODELS.get(name)
    with within_memory(f"model {name!r}"):
        return _built(factory, name, input_shape, classes, channels, options)


def _built(
    factory: Any,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    channels: int | None,
    options: "Mapping[str, Any]",
) -> "nn.Module":
    if not signatures.is_factory(factory):
        return signatures.built(factory, name, input_shape, classes, channels, options)
    _require_rank(name, factory, input_shape)
    try:
        network: nn.Module = unwrapped(validate_call(factory)(name, input_shape, classes, **options))
    except ValidationError as error:
        options_of = inspect.signature(factory).parameters.values()
        known = [option.name for option in options_of if option.kind is option.KEYWORD_ONLY]
        places = {"0": "name", "1": "input shape", "2": "classes"}  # the positional parameters
        wrong = problem(
            error, known, noun="option", place=lambda key: places.get(key.partition(".")[0], f"option {key!r}")
        )
        listed = f"its options: {', '.join(known)}" if known else "it has no options"
        raise wrong.as_error(f"model {name!r}", listed) from error
    except RuntimeError as error:  # torch raises it for tensors that it cannot allocate
        raise InputError(f"model {name!r} cannot be built: {error}", "choose smaller widths") from error
    except Exception as error:
        if isinstance(error, KdbenchError) or is_shipped(factory):
            raise
        raise InputError(
            f"model {name!r} failed: {plugins.describe_failure(error)}", plugins.location(error)
        ) from error
    return network


def _require_rank(name: str, factory: "ModelFactory", input_shape: tuple[int, ...]) -> None:
    """Raise InputError if a factory takes only images and the samples are not images."""
    parameters = list(inspect.signature(factory).parameters.values())
    if len(parameters) < 2 or parameters[1].annotation not in {InputShape, "InputShape"} or len(input_shape) == 3:
        return
    kind = {1: "vectors or token ids", 2: "sequences"}.get(len(input_shape), f"of {len(input_shape)} axes")
    shape = "x".join(str(size) for size in input_shape)
    message = f"model {name!r} takes images (channels, height, width), and the samples of {shape} are {kind}"
    raise InputError(message, "use dense for vectors, gru or lstm for sequences and token ids, or your own network")


def takes_tokens(name: str) -> bool:
    """Return whether the network called `name` may take token ids: it has a `vocabulary`, or is not kdbench's own."""
    factory = MODELS.get(name)
    return not is_shipped(factory) or "vocabulary" in inspect.signature(factory).parameters
