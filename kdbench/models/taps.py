"""Feature taps: what flows out of inner modules, read by hooks. No network is rewritten for it."""

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.registry import suggestion

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Taps:
    """While open, keeps the outputs of the modules at `paths` of `module`, of its latest forward.

    `features` maps each path to a tensor, (B, C, H, W) for convolutional blocks, with its graph. Raises
    InputError for a path that `module` does not have. The hooks go when the block ends, however it ends.

    With `no_further` a forward ends, and with it the block, as soon as all features are there: what comes after them in
    the network is not computed. (It ends by an exception of this module's own, which passes through `forward`.)
    """

    def __init__(self, module: nn.Module, paths: Iterable[str], *, no_further: bool = False) -> None:
        self.features: dict[str, Tensor] = {}
        self._no_further = no_further
        self._modules = {path: _submodule(module, path) for path in paths}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for path, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._keep(path)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        while self._handles:
            self._handles.pop().remove()
        return isinstance(error, _Enough) and error.taps is self

    def _keep(self, path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.features[path] = output
            if self._no_further and len(self.features) == len(self._modules):
                raise _Enough(self)

        return hook


class _Enough(Exception):  # noqa: N818 - no error: all that was asked for is there
    """Ends a forward whose remaining layers nobody asked for."""

    def __init__(self, taps: Taps) -> None:
        super().__init__()
        self.taps = taps


def stages_of(module: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the blocks of `module`, in order; empty if it declares none."""
    stages: tuple[str, ...] = getattr(module, "stages", ())
    return stages


def required_stages(module: nn.Module) -> tuple[str, ...]:
    """Return `stages_of(module)`; raises InputError if it declares none."""
    stages = stages_of(module)
    if not stages:
        raise InputError(
            f"{type(module).__name__} names no stages, so it has no middle or last one",
            "name the layers to tap by their paths",
        )
    return stages


def middle_stage(module: nn.Module) -> str:
    """Return the path of the middle block, the lower one of an even number: where hints are given and taken.

    FitNets (Romero et al. 2015, arXiv:1412.6550) guides the middle layer of the student by that of the teacher.
    Raises InputError if `module` declares no stages.
    """
    stages = required_stages(module)
    return stages[(len(stages) - 1) // 2]


def last_stage(module: nn.Module) -> str:
    """Return the path of the last block, whose features the head classifies; raises InputError if there is none."""
    return required_stages(module)[-1]


def _submodule(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in module.named_modules() if name]
        listed = f"its layers: {', '.join(stages_of(module) or known[:12])}"
        raise InputError(f"{type(module).__name__} has no layer {path!r}", suggestion(path, known, listed)) from None
