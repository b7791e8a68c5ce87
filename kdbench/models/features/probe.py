"""A probe of a network: one forward pass on noise, recording the inputs and outputs of its modules."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.models.features.modes import evaluation_mode


@dataclass(eq=False)
class Call:
    """One call of a module: its first input tensor and its first output tensor, if any."""

    module: nn.Module
    input: Tensor | None
    output: Tensor | None


@dataclass(eq=False)
class Probe:
    """A forward pass of a network: `inputs`, the `calls` of modules in the order in which they end, and `outputs`.

    `seen` holds the inputs and outputs of all modules, in the order of their appearance. `outputs` are those of the
    last calls of the requested layers, by path. All tensors are kept alive, so that equal ids mean the same tensor.
    """

    inputs: Tensor
    calls: list[Call] = field(default_factory=list)
    seen: list[Tensor] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)


def inputs_like(example: Tensor, samples: int) -> Tensor:
    """Return `samples` inputs like `example` (B, …): noise, or token ids that occur in it.

    Samples of token ids differ at every step, if the example has enough different ids.
    """
    if not example.is_floating_point():
        return torch.cat([other_ids(example[:1], example, number) for number in range(samples)])
    chance = torch.Generator().manual_seed(0)
    return torch.randn((samples, *example.shape[1:]), generator=chance).to(example)


def other_ids(ids: Tensor, known: Tensor, number: int) -> Tensor:
    """Return token ids with each replaced by the `number`-th next one that occurs in `known`, cyclically."""
    occurring = torch.unique(known)
    replaced: Tensor = occurring[(torch.searchsorted(occurring, ids) + number) % len(occurring)]
    return replaced


def probed(network: nn.Module, layers: Sequence[str], inputs: Tensor, *, fails: bool = False) -> Probe:
    """Run `network` on `inputs` in evaluation mode and return the record of its modules; the network is not changed.

    If it may fail (`fails`), an error is ignored, and only the layers that ran before it have outputs.
    """
    probe = Probe(inputs)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))  # a forward pass may draw random numbers
        stack.enter_context(evaluation_mode(network))
        for module in network.modules():
            stack.enter_context(_recorded(module, probe))
        for layer in layers:
            module, outputs = network.get_submodule(layer), probe.outputs
            keep = lambda _module, _inputs, output, layer=layer, outputs=outputs: outputs.update({layer: output})  # noqa: E731
            stack.enter_context(module.register_forward_hook(keep))
        try:
            network(inputs.clone())
        except Exception:  # user code
            if not fails:
                raise
    return probe


@contextmanager
def _recorded(module: nn.Module, probe: Probe) -> Iterator[None]:
    def before(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if (first := _first_tensor((*inputs, *named.values()))) is not None:
            probe.seen.append(first)

    def after(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        call = Call(module, _first_tensor((*inputs, *named.values())), _first_tensor(output))
        probe.calls.append(call)
        if call.output is not None:
            probe.seen.append(call.output)

    with (
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after, with_kwargs=True),
    ):
        yield


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, tuple | list):
        return next((item for item in value if isinstance(item, Tensor)), None)
    return value if isinstance(value, Tensor) else None
