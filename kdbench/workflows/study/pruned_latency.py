"""Pruning until calls are fast enough: the largest network whose exported file meets a goal, timed on this machine.

Pruning gives about sixty networks with fewer and fewer channels. The fewer channels, the shorter the calls, so each
timing rules out half of the remaining networks: about six timings find the largest that meets the goal.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from kdbench import units
from kdbench.distill import pruning
from kdbench.distill.pruning import Pruned
from kdbench.errors import InputError
from kdbench.export.onnx import export_onnx
from kdbench.machine.lock import machine_lock
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.latency.pair import PairTimes, time_pair
from kdbench.modelfile.facts import inspect
from kdbench.processes import temporary
from kdbench.progress import Progress, Silent
from kdbench.recipe import Measure, Prune
from kdbench.results.cards import ModelCard, PrunedLatency
from kdbench.workflows.study.run_data import RunData

Timing = Callable[[Pruned], PairTimes]


@dataclass(frozen=True)
class PruningResult:
    """The network of a search that meets its goal, its times, and how many were timed."""

    pruned: Pruned
    times: PairTimes
    tried: int

    def latency(self, options: Prune, config: Measure) -> PrunedLatency:
        """Return the entry of the search in a card."""
        assert options.latency is not None, "it was a search for a latency"
        times = self.times
        return PrunedLatency(
            goal=options.latency,
            share=times.share,
            low=times.low,
            high=times.high,
            time_ns=times.time_ns,
            threads=config.threads[0],
            provider=config.provider,
            tried=self.tried,
        )


def search(
    network: nn.Module,
    example: Tensor,
    options: Prune,
    name: str,
    config: Measure,
    run_data: RunData,
    progress: Progress | None = None,
) -> PruningResult:
    """Return the largest network that pruning leaves of `network` and that meets `options.latency`.

    `network` stays as it is. Times are at batch 1 and the first of `config.threads`; the search waits while another
    kdbench measures on this machine. Raises InputError, about the student called `name`, if even the smallest network
    is too slow.
    """
    progress = progress or Silent()
    candidates = pruning.stages(copy.deepcopy(network), example, options, name)
    with temporary.folder() as folder, machine_lock(progress):
        timing = _Timer(network, example, config, run_data, folder, progress)
        return largest_within(candidates, timing, options, name)


def require_reachable(
    network: nn.Module, example: Tensor, options: Prune, name: str, config: Measure, run_data: RunData
) -> None:
    """Raise InputError if even the smallest network that pruning leaves of `network` is too slow on this machine.

    Times do not depend on weights, so an untrained network is enough to check it before anything trains.
    """
    candidates = pruning.stages(copy.deepcopy(network), example, options, name)
    with temporary.folder() as folder, machine_lock(Silent()):
        _require_met(_Timer(network, example, config, run_data, folder, Silent())(candidates[-1]), options, name)


def largest_within(candidates: Sequence[Pruned], timing: Timing, options: Prune, name: str) -> PruningResult:
    """Return the first of the `candidates`, networks of fewer and fewer MACs, that meets the goal, by bisection.

    The first candidate is the source, which needs no timing. Raises InputError if the last does not meet the goal.
    """
    low, high = 1, len(candidates) - 1
    if high < low:
        message = f"student {name!r}: no layer has channels that may be removed"
        raise InputError(message, "set prune.round_to = 1, or name another model in prune.of")
    times = timing(candidates[high])
    _require_met(times, options, name)
    tried = 1
    while low < high:
        middle = (low + high) // 2
        middle_times = timing(candidates[middle])
        tried += 1
        if is_met(middle_times, options):
            high, times = middle, middle_times
        else:
            low = middle + 1
    return PruningResult(candidates[high], times, tried)


def is_met(times: PairTimes, options: Prune) -> bool:
    """Return whether times meet the goal."""
    if (share := options.latency_share) is not None:
        return times.share <= share
    assert options.latency_ns is not None, "a goal is a share or a time"
    return times.time_ns <= options.latency_ns


def _require_met(times: PairTimes, options: Prune, name: str) -> None:
    if is_met(times, options):
        return
    duration = f"{units.time(times.time_ns)}, {times.share:.2f} of the source's time"
    least = f"{times.share + 0.05:.2f}" if options.latency_share is not None else f'"{units.time(1.1 * times.time_ns)}"'
    message = f"student {name!r}: prune.latency is {options.latency}, and a call takes {duration}"
    other_model = "prune a model whose layers take more of the time"
    reachable = options.latency_share is None or float(least) < 1
    hint = f"set prune.latency = {least} or more, or {other_model}" if reachable else other_model
    raise InputError(f"{message}, even if every layer is pruned as far as possible", hint)


class _Timer:
    """Exports networks and times their files beside that of the source."""

    def __init__(
        self, network: nn.Module, example: Tensor, config: Measure, run_data: RunData, folder: Path, progress: Progress
    ) -> None:
        self._network, self._example, self._config = network, example, config
        self._run_data, self._folder, self._progress = run_data, folder, progress
        self._source = self._exported("source", network)
        self._count = 0

    def __call__(self, pruned: Pruned) -> PairTimes:
        """Return the times of the network that `pruned` leaves."""
        self._count += 1
        self._progress.step(0, 1, f"time candidate {self._count}")
        candidate = copy.deepcopy(self._network)
        pruning.rebuild(candidate, self._example, pruned.history)
        model = self._exported(f"candidate-{self._count}", candidate)
        return time_pair(self._source, model, self._config, self._folder, self._progress)

    def _exported(self, id_: str, network: nn.Module) -> BenchModel:
        dataset, path = self._run_data.dataset, self._folder / f"{id_}.onnx"
        export_onnx(copy.deepcopy(network), dataset.input_shape, path, self._example.dtype)
        targets = len(dataset.class_names) if dataset.task == "regression" else 0
        facts = inspect(path, data_shape=dataset.input_shape, data_layout=dataset.layout, targets=targets)
        card = ModelCard(
            id=id_,
            name=id_,
            role="student",
            file=path.name,
            sha256=facts.sha256,
            input_shape=dataset.input_shape,
            layout=dataset.layout,
            classes=None if targets else dataset.classes,
            parameters=facts.parameters,
            preprocessing=self._run_data.preprocessing,
        )
        return BenchModel(card=card, path=path, facts=facts)
