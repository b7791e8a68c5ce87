"""Networks from user classes and functions, called with the arguments that their signatures declare.

    num_classes, classes, outputs        the number of outputs
    in_channels, in_chans, channels      the channels of a sample, or the features of a vector or a sequence's step;
                                         `channels` only without a default, or with 1, 3 or 4
    input_shape                          the shape of a sample, such as (C, H, W)

Of each row, the first name that the signature declares is passed. Other arguments are options of the recipe, or keep
their defaults.
"""

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kdbench import plugins
from kdbench.errors import InputError
from kdbench.plugins.calling import parameters_of
from kdbench.plugins.wrappers import unwrapped

if TYPE_CHECKING:
    from torch import nn

OUTPUTS = ("num_classes", "classes", "outputs")
CHANNELS = ("in_channels", "in_chans", "channels")
_USUAL = {inspect.Parameter.empty, None, 1, 3, 4}  # defaults of `channels` that stand for the input's channels
_built: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


def is_factory(entry: Callable[..., Any]) -> bool:
    """Return whether an entry has the signature of kdbench's factories, (name, input_shape, classes, /, *, options)."""
    if inspect.isclass(entry) or hasattr(entry, "forward"):
        return False
    parameters = parameters_of(entry)[:3]
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return True
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    only = all(p.kind is p.POSITIONAL_ONLY for p in positional)
    return len(positional) == 3 and (only or positional[0].name == "name" or positional[0].name.startswith("_"))


def built(
    entry: Any, name: str, input_shape: tuple[int, ...], classes: int, channels: int | None, options: Mapping[str, Any]
) -> "nn.Module":
    """Return the network that a user class or function makes; raises InputError for any error in it."""
    from torch import nn

    subject = f"model {name!r}"
    if isinstance(entry, nn.Module) or not callable(entry):
        message = f"{subject} is an object of type {type(entry).__name__}; every training starts from a new network"
        raise InputError(message, "name a class, or a function that returns a new network")
    offered = _offered(entry, input_shape, classes, input_shape[0] if channels is None else channels)
    hint = f"give it in the recipe: model = {{ name = {name!r}, {{}} = … }}".replace("'", '"')
    network = plugins.called(entry, offered, plugins.with_paths(options), subject, hint=hint)
    if not isinstance(network, nn.Module):
        message = f"{subject} returns {type(network).__name__}, not a torch network"
        raise InputError(message, "return a torch.nn.Module")
    network = unwrapped(network)
    if network in _built:
        raise InputError(f"{subject} returns the same network at every call", "make a new one at every call")
    _built.add(network)
    return network


def _offered(entry: Any, input_shape: tuple[int, ...], classes: int, channels: int) -> dict[str, Any]:
    """Return the arguments that kdbench can pass, under the names in the signature."""
    defaults = {p.name: p.default for p in parameters_of(entry)}
    offered: dict[str, Any] = {"input_shape": tuple(input_shape)}
    for names, value in ((OUTPUTS, classes), (CHANNELS, channels)):
        first = next((name for name in names if name in defaults), names[0])
        default = defaults.get(first)
        if first != "channels" or default is None or (isinstance(default, int | type) and default in _USUAL):
            offered[first] = value
    return offered
