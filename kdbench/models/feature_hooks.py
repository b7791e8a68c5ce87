"""Feature hooks: they read the outputs of inner modules without changes to the network."""

from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from kdbench.errors import InputError
from kdbench.models.features.in_place import Original, copy_of
from kdbench.registry import suggestion

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class FeatureHooks:
    """A context that stores the outputs of the modules at `paths` of `module`, of the last call of each.

    `features` maps each path to the module's output, with its autograd graph: usually a tensor, (B, C, H, W) for
    convolutional blocks. A later operation in place does not change it. `calls` counts the calls of each module.
    Raises InputError for a path that `module` does not have. The hooks are removed when the context ends.

    With `stop_early` the forward pass, and with it the context, ends by an exception as soon as all features exist.

    Each output is copied, and the copy is used if something overwrites the output. `uncounted` stores, from one context
    to the next, which outputs change without being counted by torch, as through `.data`: only the first context of a
    layer compares values. Raises InputError for a layer that runs without gradients in a pass that has them.
    """

    def __init__(
        self,
        module: nn.Module,
        paths: Iterable[str],
        *,
        stop_early: bool = False,
        uncounted: dict[str, bool] | None = None,
    ) -> None:
        self.features: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self._stop_early = stop_early
        self._uncounted = {} if uncounted is None else uncounted
        self._graph = False
        self._modules = {path: require_layer(module, path) for path in paths}
        self._originals: dict[str, Original] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._graph = torch.is_grad_enabled()
        self._handles = [module.register_forward_hook(self._keep(path)) for path, module in self._modules.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        while self._handles:
            self._handles.pop().remove()
        stopped = isinstance(error, _StopForward) and error.args == (self,)
        if error is None or stopped:
            self._choose_originals()
        self._originals.clear()
        return stopped

    def _keep(self, path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if self._graph and not torch.is_grad_enabled():
                message = f"layer {path!r} runs without gradients: a loss on its output has no effect"
                hint = "call checkpoint with use_reentrant=False, leave out torch.no_grad, or name another layer"
                raise InputError(message, hint)
            self.calls[path] += 1
            self._originals.pop(path, None)
            if not torch.is_inference_mode_enabled():  # without version counters
                self._originals[path] = Original(output)
            self.features[path] = copy_of(output)
            if self._stop_early and len(self.features) == len(self._modules):
                raise _StopForward(self)

        return hook

    def _choose_originals(self) -> None:
        """Use the originals of outputs that were not overwritten: a copy changes the order of gradient sums."""
        for path, original in self._originals.items():
            changed = original.has_changed()
            if not changed and path not in self._uncounted:
                self._uncounted[path] = original.differs_from(self.features[path])
            if not changed and not self._uncounted[path]:
                self.features[path] = original.value


class _StopForward(BaseException):  # not an Exception, which a network's forward may catch
    """Ends a forward pass whose remaining layers are not needed; its argument is the `FeatureHooks` that raised it."""


def declare_stages(module: nn.Module, paths: tuple[str, ...]) -> None:
    """Declare the module paths of the blocks of `module`, in order, for `declared_stages`."""
    # Some networks have a submodule called `stages`.
    name = "stages" if not isinstance(getattr(module, "stages", None), nn.Module) else "feature_stages"
    setattr(module, name, paths)


def declared_stages(module: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the blocks that `module` declares, in order; none if it declares none."""
    stages: Any = getattr(module, "feature_stages", None) or getattr(module, "stages", ())
    is_paths = isinstance(stages, tuple | list) and all(isinstance(path, str) for path in stages)
    return tuple(stages) if is_paths else ()


def required_stages(module: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the blocks of `module`, in order; raises InputError if it declares none."""
    stages = declared_stages(module)
    if not stages:
        message = f"{type(module).__name__} declares no stages, so it has no middle or last stage"
        raise InputError(message, "name the layers by their paths")
    return stages


def middle_stage(module: nn.Module) -> str:
    """Return the path of the middle block (the lower of two), where FitNets (arXiv:1412.6550) takes its hints.

    Raises InputError if `module` declares no stages.
    """
    stages = required_stages(module)
    return stages[(len(stages) - 1) // 2]


def last_stage(module: nn.Module) -> str:
    """Return the path of the last block, the input of the head; raises InputError if `module` declares no stages."""
    return required_stages(module)[-1]


def require_layer(module: nn.Module, path: str) -> nn.Module:
    """Return the module at `path` of `module`; raises InputError if there is none."""
    try:
        return module.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in module.named_modules() if name]
        listed = f"its layers: {', '.join(declared_stages(module) or known[:12])}"
        raise InputError(f"{type(module).__name__} has no layer {path!r}", suggestion(path, known, listed)) from None
