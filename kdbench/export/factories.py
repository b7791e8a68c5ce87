"""Networks by import path: `pkg.module:factory` as a network in evaluation mode."""

from torch import nn

from kdbench.errors import InputError
from kdbench.plugins import called, imported
from kdbench.plugins.wrappers import unwrapped

_FORM = "write it as pkg.module:factory, where factory is a function or class that returns the network"


def network_from(path: str) -> nn.Module:
    """Return the network that the factory at the import path `path` makes, float32, in evaluation mode, on the CPU.

    The factory is called without arguments; it may be a function, a class, or the network itself. As with
    `python -m`, modules in the working directory can be imported. This runs the module's code. Raises InputError for
    everything that goes wrong in it.
    """
    subject, name = f"--torch {path}", path.rpartition(":")[2]
    made = imported(path, subject=subject, form=_FORM)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise InputError(f"{subject} is of type {type(made).__name__}, which cannot be called", _FORM)
        hint = f"write a function that passes them: def student(): return {name}({{}}=…), and name that"
        made = called(made, {}, {}, subject, hint=hint)
    if not isinstance(made, nn.Module):
        message = f"{subject} returns {type(made).__name__}, not a torch network"
        raise InputError(message, "return a torch.nn.Module from this function")
    return unwrapped(made).float().cpu().eval()
