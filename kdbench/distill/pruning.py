"""Structural pruning: channels of a trained network removed until a share of its multiply-accumulates remains.

A channel is removed together with everything that depends on it (Fang et al. 2023, arXiv:2301.12900, in
torch-pruning), those of the least magnitude first: the L2 norm of its weights in all these layers, divided by the mean
of the group. The layer that returns the network's outputs keeps all of its channels.

What was removed is a history of plain values, from which `rebuild` makes a network of the same shape again.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdbench import extras
from kdbench.errors import InputError
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins import describe_failure
from kdbench.recipe import Prune

# In how many steps the share of channels grows to `_MAX_SHARE`: more come closer to the requested share of MACs.
_STEPS = 64
_MAX_SHARE = 0.95  # of the channels of a layer; without a limit, ranking over all layers may remove one entirely

History = Sequence[tuple[str, bool, Sequence[int]]]


@dataclass(frozen=True)
class Pruned:
    """What `prune` did: what it removed, and the MACs of one sample before and after."""

    history: History
    macs_before: int
    macs: int


def prune(network: nn.Module, example: Tensor, options: Prune, name: str) -> Pruned:
    """Remove channels of `network`, in place, until at most `options.macs` of its MACs remain.

    `example` are inputs (N, …) as it takes them. Raises InputError, about the student called `name`, for a network that
    cannot be pruned, or not so far.
    """
    goal, before = options.macs, _macs(network, example)
    assert goal is not None, "a goal of latency is searched for: see `stages`"
    done = _shrunk(network, example, options, name, lambda macs: macs <= goal * before)[-1]
    if done.macs > goal * before:
        left = done.macs / before
        message = f"student {name!r}: prune.macs is {goal:g}, and {left:.2f} of the MACs remain"
        remedies = [f"prune.macs = {_up(left)} or more"] if float(_up(left)) < 1 else []
        remedies += ["prune.round_to = 1"] if options.round_to > 1 else []
        hint = f"set {', or '.join(remedies)}" if remedies else "prune a network with wider layers"
        raise InputError(f"{message} even if every layer is pruned as far as possible", hint)
    return done


def prune_about(network: nn.Module, example: Tensor, options: Prune, name: str) -> None:
    """Remove channels of `network`, in place, until its calls may be about as fast as `options.latency` requires.

    Without a timing, time is taken for MACs, and a time for half of the source's. Raises InputError as `prune` does,
    but for a goal out of reach.
    """
    share, before = options.latency_share or 0.5, _macs(network, example)
    _shrunk(network, example, options, name, lambda macs: macs <= share * before)


def stages(network: nn.Module, example: Tensor, options: Prune, name: str) -> list[Pruned]:
    """Return the networks that pruning passes through, of fewer and fewer MACs; `network` becomes the smallest.

    The first has lost nothing. `rebuild` makes any of them of a copy of the network. Raises InputError as `prune` does.
    """
    return _shrunk(network, example, options, name, lambda _: False)


def _shrunk(
    network: nn.Module, example: Tensor, options: Prune, name: str, enough: Callable[[int], bool]
) -> list[Pruned]:
    """Remove channels of `network`, in place, until it has `enough` few MACs, or may lose no more."""
    pruning = _library()
    before, shape = _macs(network, example), _outputs(network, example).shape
    passed = [Pruned((), before, before)]
    with _explained(name), evaluation_mode(network):
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
            if enough(passed[-1].macs):
                break
            steps = len(pruner.pruning_history())
            pruner.step()
            if len(pruner.pruning_history()) == steps:  # rounding left all channels
                continue
            if (macs := _macs(network, example)) < passed[-1].macs:
                history = [
                    (layer, bool(of_outputs), [int(i) for i in channels])
                    for layer, of_outputs, channels in pruner.pruning_history()
                ]
                passed.append(Pruned(history, before, macs))
        if _outputs(network, example).shape != shape:
            raise ValueError("its outputs change with its channels")
    return passed


def rebuild(network: nn.Module, example: Tensor, history: History) -> None:
    """Give `network`, in place, the shape that pruning left a network of the same architecture; its weights remain."""
    with evaluation_mode(network), _quietly():
        graph = _library().DependencyGraph().build_dependency(network, example)
        graph.load_pruning_history([(layer, of_outputs, [*channels]) for layer, of_outputs, channels in history])


def _library() -> Any:
    extras.require("prune", "pruning")
    import torch_pruning  # type: ignore[import-untyped]  # no stubs

    return torch_pruning


def _macs(network: nn.Module, example: Tensor) -> int:
    """Return the MACs of one sample, by torch's counter: of convolutions, linear layers, matrix products."""
    with FlopCounterMode(display=False) as counter:
        _outputs(network, example)
    return int(counter.get_total_flops()) // (2 * len(example))


@torch.no_grad()
def _outputs(network: nn.Module, example: Tensor) -> Tensor:
    with evaluation_mode(network):
        outputs: Tensor = network(example)
    return outputs


def _output_layers(network: nn.Module, example: Tensor) -> list[nn.Module]:
    """Return the layers whose channels are the network's outputs: without one of them, the outputs have another shape.

    A layer counts as one too if the network fails without one of its channels.
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
def _explained(name: str) -> Iterator[None]:
    """Raise InputError for a network that torch-pruning cannot prune, for any error of its operations."""
    try:
        with _quietly():
            yield
    except Exception as error:
        message = f"student {name!r}: the network cannot be pruned: {describe_failure(error)}"
        hint = "shortcuts that pad or cut channels, channel shuffles and fixed shapes in forward prevent it"
        raise InputError(message, f"name another model in prune.of; {hint}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters outside of layers, which it handles
        yield


def _up(share: float) -> str:
    return f"{int(share * 100 + 1) / 100:g}"
