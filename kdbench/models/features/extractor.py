"""Running a network for training: its output together with the outputs of inner layers, without changing its inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kdbench.errors import InputError
from kdbench.models.feature_hooks import FeatureHooks
from kdbench.models.features.modes import evaluation_mode

# Packages whose networks call the same layers at every step.
_STATIC = {"kdbench", "torch", "torchvision", "timm"}


class FeatureExtractor:
    """Runs `network` as often as needed, with the outputs of inner layers as the layers return them."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._uncounted: dict[str, bool] = {}
        self._calls: dict[str, int] = {}
        self.is_static = isinstance(network, nn.Module) and all(
            type(module).__module__.partition(".")[0] in _STATIC for module in network.modules()
        )

    def run(self, inputs: Tensor, layers: Sequence[str] = (), *, output: bool = True) -> tuple[Any, dict[str, Any]]:
        """Return the network's output for `inputs` (B, …), and the outputs of `layers` by path.

        The outputs are those that `FeatureHooks` stores. `inputs` are not changed. Without `output` the forward pass
        may end after the last of `layers`, and the first result is None. Raises InputError for layers that the network
        does not have or does not use.
        """
        # The output of a layer's last call is needed, so the pass ends early only if each layer is called once.
        stop_early = not output and self.is_static and all(self._calls.get(layer) == 1 for layer in layers)
        result = None
        with FeatureHooks(self.network, layers, stop_early=stop_early, uncounted=self._uncounted) as hooks:
            result = self.network(inputs.clone())  # which it may overwrite
        if missing := [layer for layer in layers if layer not in hooks.features]:
            raise InputError(f"layer {missing[0]!r} of {type(self.network).__name__} is not used",
                             "name a layer that every forward pass calls")  # fmt: skip
        if not stop_early:
            self._calls.update(hooks.calls)
        return (result if output else None), hooks.features


def require_gradients(network: nn.Module, layers: Sequence[str], inputs: Tensor) -> None:
    """Raise InputError for layers whose output has no gradient in training: a loss on it would have no effect.

    Networks of known libraries are checked only if some of their weights are frozen, or a layer has none of its own, as
    one in front of all weights. `inputs` are a batch (B, …). Does not change `network`.
    """
    extractor = FeatureExtractor(network)
    have_weights = all(any(True for _ in network.get_submodule(layer).parameters()) for layer in layers)
    if extractor.is_static and have_weights and all(parameter.requires_grad for parameter in network.parameters()):
        return
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]), evaluation_mode(network):
            network.train()
            _, features = extractor.run(inputs, layers)
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                if name in buffers and buffer.shape == buffers[name].shape:
                    buffer.copy_(buffers[name])
    for layer, feature in features.items():
        if not any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(feature)):
            message = f"layer {layer!r} of {type(network).__name__} has no gradient: a loss on its output has no effect"
            before = "freeze fewer modules, leave out detach, .data and requires_grad = False before it"
            raise InputError(message, f"{before}, or name another layer")
