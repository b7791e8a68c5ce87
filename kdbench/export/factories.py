"""Networks by import path: `pkg.module:factory` as a network in evaluation mode."""

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from kdbench.errors import InputError
from kdbench.registry import suggestion

_FORM = "write it as pkg.module:factory, where factory is a function or class that returns the network"


def network_from(path: str) -> nn.Module:
    """Return the network that the factory at the import path `path` makes, float32, in evaluation mode, on the CPU.

    The factory is called without arguments; it may be a function, a class, or the network itself. As with
    `python -m`, modules in the working directory can be imported. This runs the module's code. Raises InputError for
    everything that goes wrong in it.
    """
    module_name, separator, attribute = path.partition(":")
    if (
        not separator
        or not attribute
        or module_name.endswith(".py")
        or not all(part.isidentifier() for part in module_name.split("."))
    ):
        attribute_value = ""
        if module_name.endswith(".py"):
            attribute_value = (
                f"for the file {module_name}: {module_name[:-3].replace('/', '.')}:{attribute or 'factory'}; "
            )
        raise InputError(f"--torch {path!r} is not the import path of a factory", attribute_value + _FORM)
    with _working_directory_importable():
        made = _looked_up(module_name, attribute, path)
        if not isinstance(made, nn.Module):
            made = _called(made, path)
    if not isinstance(made, nn.Module):
        message = f"--torch {path} returns {type(made).__name__}, not a torch network"
        raise InputError(message, "the factory has to return a torch.nn.Module")
    return made.float().cpu().eval()


@contextlib.contextmanager
def _working_directory_importable() -> Iterator[None]:
    folder = os.getcwd()  # noqa: PTH109 - sys.path holds texts
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _looked_up(module_name: str, attribute: str, path: str) -> Any:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            hint = f"run kdbench in the folder that holds {missing.partition('.')[0]}, or install it"
            raise InputError(f"--torch {path}: there is no module {missing!r}", hint) from None
        hint = f"install {missing.partition('.')[0]} where kdbench is installed"
        raise InputError(f"--torch {path}: {module_name} imports {missing!r}, which is missing", hint) from error
    except (Exception, SystemExit) as error:  # the module is a stranger's code
        hint = f"does `python -c 'import {module_name}'` work? A script has to protect its work by `if __name__ == …`"
        raise InputError(f"--torch {path}: importing {module_name} failed: {_shown(error)}", hint) from error
    attribute_value: Any = module
    for name in attribute.split("."):
        if not hasattr(attribute_value, name):
            names = getattr(attribute_value, "__dict__", {}).items()
            callables = [key for key, value in names if callable(value) and not key.startswith("_")]
            hint = suggestion(name, callables, f"it has: {', '.join(callables[:12]) or 'no functions or classes'}")
            raise InputError(f"--torch {path}: {module_name} has no {attribute!r}", hint)
        attribute_value = getattr(attribute_value, name)
    return attribute_value


def _called(factory: Callable[[], Any], path: str) -> Any:
    if not callable(factory):
        raise InputError(f"--torch {path} is of type {type(factory).__name__}, which cannot be called", _FORM)
    name = path.rpartition(":")[2]
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some callables have no signature
        parameters = {}.values()
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if needed:
        hint = f"write a function that gives them: def student(): return {name}({needed[0]}=…), and name that"
        raise InputError(f"--torch {path} needs arguments: {', '.join(needed)}", hint)
    try:
        return factory()
    except (Exception, SystemExit) as error:  # a stranger's code
        raise InputError(f"--torch {path} failed: {_shown(error)}", "call it in Python to see where") from error


def _shown(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
