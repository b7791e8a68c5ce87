"""Feature taps: the outputs of inner modules, read by hooks, without changes to the network."""

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.registry import suggestion

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Taps:
    """A context that keeps the outputs of the modules at `paths` of `module`, from its latest forward.

    `features` maps each path to a tensor, (B, C, H, W) for convolutional blocks, with its autograd graph. Raises
    InputError for a path that `module` does not have. The hooks are removed when the context ends.

    With `stop_early` the forward, and with it the context, ends by an exception as soon as all features are there.
    """

    def __init__(self, module: nn.Module, paths: Iterable[str], *, stop_early: bool = False) -> None:
        self.features: dict[str, Tensor] = {}
        self._stop_early = stop_early
        self._modules = {path: _submodule(module, path) for path in paths}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._handles = [module.register_forward_hook(self._keep(path)) for path, module in self._modules.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        while self._handles:
            self._handles.pop().remove()
        return isinstance(error, _StopForward) and error.args == (self,)

    def _keep(self, path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.features[path] = output
            if self._stop_early and len(self.features) == len(self._modules):
                raise _StopForward(self)

        return hook


class _StopForward(Exception):  # noqa: N818 - no error: all features are there
    """Ends a forward whose remaining layers are not needed; its argument is the `Taps` that has its features."""


def required_stages(module: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the blocks of `module`, in order; raises InputError if it declares none."""
    stages: tuple[str, ...] = getattr(module, "stages", ())
    if not stages:
        message = f"{type(module).__name__} declares no stages, so it has no middle or last stage"
        raise InputError(message, "name the layers to tap by their paths")
    return stages


def middle_stage(module: nn.Module) -> str:
    """Return the path of the middle block (the lower of two), which FitNets (arXiv:1412.6550) taps for its hints.

    Raises InputError if `module` declares no stages.
    """
    stages = required_stages(module)
    return stages[(len(stages) - 1) // 2]


def last_stage(module: nn.Module) -> str:
    """Return the path of the last block, the input of the head; raises InputError if `module` declares no stages."""
    return required_stages(module)[-1]


def _submodule(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in module.named_modules() if name]
        listed = f"its layers: {', '.join(getattr(module, 'stages', ()) or known[:12])}"
        raise InputError(f"{type(module).__name__} has no layer {path!r}", suggestion(path, known, listed)) from None
