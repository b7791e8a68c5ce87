"""The channels removed from a pruned network, written next to its checkpoint so that the shape can be rebuilt."""

import copy
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import Tensor, nn

from kdbench.distill import pruning
from kdbench.distill.training.processes import process_group
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.plugins import describe_failure
from kdbench.progress import Progress
from kdbench.recipe import Measure, Prune, Recipe, Student
from kdbench.results.cards import PrunedLatency, Pruning
from kdbench.results.run_folder import RunFolder
from kdbench.results.values import StoredValue
from kdbench.user_input.validation import added_later
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.pruned_latency import search
from kdbench.workflows.study.run_data import RunData

_FILE = "pruning.json"


class RemovedChannels(StoredValue):
    """The channels that a network lost, and the share of its MACs that remained.

    `key` is a hash of the weights that it was pruned from and of how. `latency` is what was measured, where that was
    the goal.
    """

    file_kind = "record of pruning"
    hint = "delete its folder and resume: the model is pruned and trained again"

    key: str
    macs_share: float = Field(gt=0, le=1)
    history: tuple[tuple[str, bool, tuple[int, ...]], ...]
    latency: PrunedLatency | None = added_later(None)


@dataclass(frozen=True)
class Timing:
    """How to time a network while it is pruned: by `config`, on inputs as those of `run_data`.

    `first` is the pruning file of the student's first seed, for later seeds: they keep its share of MACs, so that all
    seeds have about the same size.
    """

    config: Measure
    run_data: RunData
    progress: Progress
    first: Path | None = None


def timing_of(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress) -> Timing:
    """Return how to time a job's network while it is pruned."""
    seed = recipe.seeds[0]
    first = None if job.of_seed == seed else folder.checkpoint(f"{job.entry.name}-seed{seed}") / _FILE
    return Timing(recipe.measure, run_data, progress, first)


def removed_file(folder: RunFolder, job: Job) -> Path:
    """Return the file of the channels that were removed from a job's network."""
    return folder.checkpoint(job.id) / _FILE


def options_of(job: Job) -> Prune | None:
    """Return how a job's network is pruned; None if it is not."""
    return job.entry.prune if isinstance(job.entry, Student) else None


def prune_once(
    network: nn.Module, example: Tensor, options: Prune, name: str, weights: Path, file: Path, timing: Timing
) -> None:
    """Prune `network`, in place, and write the removed channels to `file`; its weights are from the file `weights`.

    A resumed training reads `file` instead: another machine may add up magnitudes in another order, and no two timings
    are the same. Of several processes, the first chooses the channels.
    """
    key = storage.content_hash({"of": storage.sha256(weights), "prune": options.model_dump(mode="json")})

    def choose() -> None:
        if not (file.exists() and _read(file).key == key):
            storage.make_folder(file.parent)
            _prune(copy.deepcopy(network), example, options, name, key, timing).write(file)

    process_group().on_rank_zero(choose)
    prune_again(network, example, file)


def _prune(network: nn.Module, example: Tensor, options: Prune, name: str, key: str, timing: Timing) -> RemovedChannels:
    """Remove channels of `network`, in place, and return them."""
    latency = None
    if options.latency is None:
        pruned = pruning.prune(network, example, options, name)
    elif timing.first is not None:
        share = _read(timing.first).macs_share * (1 + 1e-9)  # rounding must not forbid the same number of MACs
        by_macs = options.model_copy(update={"macs": share, "latency": None})
        pruned = pruning.prune(network, example, by_macs, name)
    else:
        result = search(network, example, options, name, timing.config, timing.run_data, timing.progress)
        pruned, latency = result.pruned, result.latency(options, timing.config)
    share = pruned.macs / pruned.macs_before
    content = {"key": key, "macs_share": share, "history": pruned.history, "latency": latency}
    return RemovedChannels.model_validate(content)


def prune_again(network: nn.Module, example: Tensor, file: Path) -> None:
    """Give `network`, in place, the pruned shape in `file`; raises InputError if it does not fit the network."""
    history = _read(file).history
    try:
        pruning.rebuild(network, example, history)
    except Exception as error:
        raise InputError(f"{file} does not fit the network: {describe_failure(error)}", RemovedChannels.hint) from error


def pruning_of(job: Job, folder: RunFolder) -> Pruning | None:
    """Return what a job's trained network was pruned from; None if it was not."""
    if options_of(job) is None:
        return None
    assert job.start is not None, "a pruned network has a source"
    removed = _read(removed_file(folder, job))
    return Pruning(of=job.start.id, macs_share=removed.macs_share, latency=removed.latency)


def _read(file: Path) -> RemovedChannels:
    """Read a file; the hint is the same whether it is missing, damaged or invalid."""
    try:
        return RemovedChannels.read(file)
    except InputError as error:
        raise InputError(error.message, RemovedChannels.hint) from error
