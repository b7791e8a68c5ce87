"""Refusing networks that are too large for this machine's memory, while they are built.

The operating system allocates the memory of a tensor when it is written, so weights are counted when a module registers
them, before they get their first values.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.processes.machine_memory import machine_memory_bytes

if TYPE_CHECKING:
    from torch import nn

_COPIES = 4  # weights, gradients, the optimiser's state, the best epoch's weights


@contextmanager
def within_memory(subject: str, memory_bytes: int | None = None) -> Iterator[None]:
    """Raise InputError, about `subject`, if training the networks built in the block needs too much memory.

    The limit is `memory_bytes`, by default the machine's whole memory, whether in use or not.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook
    from torch.nn.parameter import is_lazy

    memory = (machine_memory_bytes() or math.inf) if memory_bytes is None else memory_bytes
    held = 0

    def count(_module: "nn.Module", _name: str, parameter: "nn.Parameter | None") -> None:
        nonlocal held
        if parameter is not None and not is_lazy(parameter):  # a lazy one has no size yet
            held += parameter.numel() * parameter.element_size()
        if held * _COPIES > memory:
            sizes = f"{held / 1e9:,.1f} GB of weights or more, and this machine has {memory / 1e9:,.1f} GB of memory"
            raise InputError(f"{subject} has {sizes}; training takes {_COPIES} times its weights", "make it smaller")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
