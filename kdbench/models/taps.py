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
    """

    def __init__(self, module: nn.Module, paths: Iterable[str]) -> None:
        self.features: dict[str, Tensor] = {}
        self._modules = {path: _submodule(module, path) for path in paths}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for path, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._keep(path)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _keep(self, path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.features[path] = output

        return hook


def stages_of(module: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the blocks of `module`, in order; empty if it declares none."""
    stages: tuple[str, ...] = getattr(module, "stages", ())
    return stages


def middle_stage(module: nn.Module) -> str:
    """Return the path of the middle block, the lower one of an even number: where hints are given and taken.

    FitNets (Romero et al. 2015, arXiv:1412.6550) guides the middle layer of the student by that of the teacher.
    Raises InputError if `module` declares no stages.
    """
    stages = stages_of(module)
    if not stages:
        raise InputError(
            f"{type(module).__name__} names no stages, so it has no middle one", "name the layer to tap by its path"
        )
    return stages[(len(stages) - 1) // 2]


def _submodule(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in module.named_modules() if name]
        listed = f"its layers: {', '.join(stages_of(module) or known[:12])}"
        raise InputError(f"{type(module).__name__} has no layer {path!r}", suggestion(path, known, listed)) from None
