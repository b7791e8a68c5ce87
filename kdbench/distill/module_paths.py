"""The parameters and modules of a network that a recipe names, by module path or glob.

Patterns:

    "head"        the module `head` with its submodules, or a parameter of that name
    "blocks.0*"   every module and parameter whose path matches; * matches dots too
"""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from torch import nn

from kdbench.errors import InputError, about
from kdbench.recipe import Training
from kdbench.registry import nearest


def require_paths(network: nn.Module, patterns: Iterable[str], key: str) -> None:
    """Raise InputError for a pattern of the recipe's `key` that matches nothing in `network`."""
    paths = [path for path, _ in network.named_modules() if path]
    parameters = [name for names in names_of(network).values() for name in names]
    known = dict.fromkeys([*paths, *parameters])
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in known):
            close = nearest(pattern, list(known))
            listed = ", ".join(path for path, _ in network.named_children())
            hint = f"did you mean {close!r}?" if close else f"its modules: {listed}; name inner ones by path"
            raise InputError(f"{key}: {pattern!r} matches nothing in {type(network).__name__}", hint)
        if not any(matches(parameter, pattern) for parameter in parameters):
            message = f"{key}: {pattern!r} has no parameters in {type(network).__name__}"
            raise InputError(message, "leave it out, or name a layer with weights")


def names_of(network: nn.Module) -> dict[nn.Parameter, list[str]]:
    """Return the names of each parameter of `network`; tied weights have several."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return names


def matches(path: str, pattern: str) -> bool:
    """Return whether `pattern` names the module or parameter at `path`, or a module that contains it."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:length]), pattern) for length in range(1, len(parts) + 1))


def longest_match(paths: Iterable[str], patterns: Collection[str]) -> str | None:
    """Return the longest of `patterns` that matches one of `paths`; of two as long, a path precedes a glob."""
    matching = [pattern for path in paths for pattern in patterns if matches(path, pattern)]
    return max(matching, key=lambda pattern: (len(pattern), not set(pattern) & set("*?[")), default=None)


def require_known_paths(network: nn.Module, training: Training, name: str) -> None:
    """Raise InputError for a path that the network of the model `name` does not have, or if nothing is left to train.

    Freezes the modules of `network` that `training.freeze` names.
    """
    with about(name):
        require_paths(network, training.optimizer.layers, "training.optimizer.layers")
        frozen_modules(network, training.freeze)


def frozen_modules(network: nn.Module, patterns: Collection[str]) -> list[nn.Module]:
    """Stop the gradients of what `patterns` name in `network`; return those modules, to keep in evaluation mode.

    Raises InputError for a pattern that matches nothing, and where nothing is left to train.
    """
    if not patterns:
        return []
    require_paths(network, patterns, "training.freeze")
    names_of_parameters = names_of(network)
    frozen = {parameter for parameter, names in names_of_parameters.items() if longest_match(names, patterns)}
    if not any(parameter.requires_grad for parameter in names_of_parameters.keys() - frozen):
        raise InputError(
            f"training.freeze leaves no parameter of {type(network).__name__} to train", "name fewer modules"
        )
    for parameter in frozen:
        parameter.requires_grad = False
    modules = network.named_modules()
    return [module for path, module in modules if path and longest_match([path], patterns)]
