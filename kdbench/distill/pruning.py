"""Structural pruning: channels of a trained network removed until a share of its multiply-accumulates remains.

A channel is removed together with everything that depends on it (Fang et al. 2023, arXiv:2301.12900, in torch-pruning).
Channels of the least magnitude go first: the L2 norm of a channel's weights in all these layers, divided by the mean of
the group. The layer that returns the network's outputs keeps all of its channels.

The removed channels are a history of plain values, with which `rebuild` gives another network the same shape.
"""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import extras
from kdbench.errors import InputError
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins import describe_failure
from kdbench.recipe import Prune

# The share of removed channels grows to `_MAX_SHARE` in so many steps: more come closer to the requested MACs.
_STEPS = 64
_MAX_SHARE = 0.95  # of a layer's channels: without a limit, ranking over all layers may remove a whole layer

History = Sequence[tuple[str, bool, Sequence[int]]]


@dataclass(frozen=True)
class Pruned:
    """A pruned network: its removed channels, and the MACs of one sample before and after."""

    history: History
    macs_before: int
    macs: int


def prune(network: nn.Module, example: Tensor, options: Prune, name: str) -> Pruned:
    """Remove channels of `network`, in place, until at most `options.macs` of its MACs remain.

    `example` are inputs (N, …) as the network takes them. Raises InputError, about the student called `name`, if the
    network cannot be pruned, or not so far.
    """
    goal, before = options.macs, _macs(network, example)
    assert goal is not None, "a goal of latency is searched for: see `stages`"
    pruned = stages(network, example, options, name, share=goal)[-1]
    if pruned.macs > goal * before:
        remaining = pruned.macs / before
        message = f"student {name!r}: prune.macs is {goal:g}, and {remaining:.2f} of the MACs remain"
        reachable = int(remaining * 100 + 1) / 100
        remedies = [f"prune.macs = {reachable:g} or more"] if reachable < 1 else []
        remedies += ["prune.round_to = 1"] if options.round_to > 1 else []
        hint = f"set {', or '.join(remedies)}" if remedies else "prune a network with wider layers"
        raise InputError(f"{message} even if every layer is pruned as far as possible", hint)
    return pruned


def prune_without_timing(network: nn.Module, example: Tensor, options: Prune, name: str) -> None:
    """Remove channels of `network`, in place, until its calls may be about as fast as `options.latency` requires.

    A share of the source's latency stands for the same share of its MACs, a time for half of them. Raises InputError as
    `prune` does, except for a goal out of reach.
    """
    stages(network, example, options, name, share=options.latency_share or 0.5)


def stages(network: nn.Module, example: Tensor, options: Prune, name: str, *, share: float = 0.0) -> list[Pruned]:
    """Return the networks that pruning passes through, of fewer and fewer MACs; `network` becomes the last.

    The first is the unpruned network, the last the first with at most a `share` of its MACs, or as few as possible.
    `rebuild` gives any of these shapes to a copy of the network. Raises InputError as `prune` does, except for a share
    out of reach.
    """
    pruning = _library()
    before, shape = _macs(network, example), _outputs(network, example).shape
    steps = [Pruned((), before, before)]
    with _input_error_on_failure(name), evaluation_mode(network):
        pruner = pruning.pruner.BasePruner(
            network,
            example,
            importance=pruning.importance.GroupMagnitudeImportance(p=2),
            global_pruning=options.scope == "global",
            pruning_ratio=_MAX_SHARE,
            max_pruning_ratio=_MAX_SHARE,
            iterative_steps=_STEPS,
            ignored_layers=_output_layers(network, example),
            round_to=options.round_to,
        )
        for _ in range(_STEPS):
            if steps[-1].macs <= share * before:
                break
            changes = len(pruner.pruning_history())
            pruner.step()
            if len(pruner.pruning_history()) == changes:  # rounding left all channels
                continue
            if (macs := _macs(network, example)) < steps[-1].macs:
                history = [
                    (layer, bool(of_outputs), [int(i) for i in channels])
                    for layer, of_outputs, channels in pruner.pruning_history()
                ]
                steps.append(Pruned(history, before, macs))
        if _outputs(network, example).shape != shape:
            raise ValueError("its outputs change with its channels")
    return steps


def rebuild(network: nn.Module, example: Tensor, history: History) -> None:
    """Give `network`, in place, the shape of a pruned network of the same architecture; the other weights remain."""
    with evaluation_mode(network), _without_warnings():
        graph = _library().DependencyGraph().build_dependency(network, example)
        graph.load_pruning_history([(layer, of_outputs, [*channels]) for layer, of_outputs, channels in history])


def _library() -> Any:
    extras.require("prune", "pruning")
    import torch_pruning  # type: ignore[import-untyped]  # no stubs

    return torch_pruning


def _macs(network: nn.Module, example: Tensor) -> int:
    """Return the MACs of one sample, by torch's counter: of convolutions, linear layers, matrix products."""
    from torch.utils.flop_counter import FlopCounterMode  # loads Triton

    with FlopCounterMode(display=False) as counter:
        _outputs(network, example)
    return int(counter.get_total_flops()) // (2 * len(example))


@torch.no_grad()
def _outputs(network: nn.Module, example: Tensor) -> Tensor:
    with evaluation_mode(network):
        outputs: Tensor = network(example)
    return outputs


def _output_layers(network: nn.Module, example: Tensor) -> list[nn.Module]:
    """Return the layers whose channels are the network's outputs: without a channel, the outputs have another shape.

    A layer is also one of them if the network fails without one of its channels.
    """
    pruning, shape = _library(), _outputs(network, example).shape
    layers = []
    for name, layer in network.named_modules():
        if getattr(layer, "out_features", getattr(layer, "out_channels", None)) not in shape[1:]:
            continue
        smaller = copy.deepcopy(network)
        try:
            graph = pruning.DependencyGraph().build_dependency(smaller, example)
            part = smaller.get_submodule(name)
            graph.get_pruning_group(part, graph.get_pruner_of_module(part).prune_out_channels, [0]).prune()
            is_output = _outputs(smaller, example).shape != shape
        except Exception:  # noqa: BLE001 - any network's operations may raise anything
            is_output = True
        if is_output:
            layers.append(layer)
    return layers


@contextmanager
def _input_error_on_failure(name: str) -> Iterator[None]:
    """Raise InputError for any error of torch-pruning: it cannot prune the network."""
    try:
        with _without_warnings():
            yield
    except Exception as error:
        message = f"student {name!r}: the network cannot be pruned: {describe_failure(error)}"
        hint = "shortcuts that pad or cut channels, channel shuffles and fixed shapes in forward prevent it"
        raise InputError(message, f"name another model in prune.of; {hint}") from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch-pruning warns of parameters outside of layers, and handles them
        yield
