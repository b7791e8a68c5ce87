"""The channels removed from a pruned network, written next to its checkpoint so that the network can be built again."""

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
    """How a network is timed while it is pruned: as `config` says, on inputs such as those of `run_data`.

    `first` is the file of the same student's first seed, for the seeds after it: all have its share of MACs, so that
    they differ in their weights alone.
    """

    config: Measure
    run_data: RunData
    progress: Progress
    first: Path | None = None


def timing_of(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder, progress: Progress) -> Timing:
    """Return how a job's network is timed while it is pruned."""
    first = recipe.seeds[0]
    place = None if job.of_seed == first else folder.checkpoint(f"{job.entry.name}-seed{first}") / _FILE
    return Timing(recipe.measure, run_data, progress, place)


def removed_file(folder: RunFolder, job: Job) -> Path:
    """Return where the channels that a job's network lost are written."""
    return folder.checkpoint(job.id) / _FILE


def options_of(job: Job) -> Prune | None:
    """Return how a job's network is pruned; None if it is not."""
    return job.entry.prune if isinstance(job.entry, Student) else None


def prune_once(
    network: nn.Module, example: Tensor, options: Prune, name: str, weights: Path, file: Path, timing: Timing
) -> None:
    """Prune `network`, in place, which has the `weights` of that file, and write to `file` what it lost.

    A training that is resumed finds it there: another machine may add up magnitudes in another order, and no two
    timings are the same. Of several processes, the first chooses what is removed.
    """
    key = storage.content_hash({"of": storage.sha256(weights), "prune": options.model_dump(mode="json")})

    def choose() -> None:
        if not (file.exists() and _read(file).key == key):
            storage.make_folder(file.parent)
            _chosen(copy.deepcopy(network), example, options, name, key, timing).write(file)

    process_group().on_rank_zero(choose)
    prune_again(network, example, file)


def _chosen(
    network: nn.Module, example: Tensor, options: Prune, name: str, key: str, timing: Timing
) -> RemovedChannels:
    """Choose the channels that `network` loses, remove them and return them."""
    latency = None
    if options.latency is None:
        done = pruning.prune(network, example, options, name)
    elif timing.first is not None:
        share = _read(timing.first).macs_share * (1 + 1e-9)  # as many MACs again are not more
        done = pruning.prune(network, example, _to_macs(options, share), name)
    else:
        result = search(network, example, options, name, timing.config, timing.run_data, timing.progress)
        done, latency = result.pruned, result.latency(options, timing.config)
    content = {"key": key, "macs_share": done.macs / done.macs_before, "history": done.history, "latency": latency}
    return RemovedChannels.model_validate(content)


def _to_macs(options: Prune, share: float) -> Prune:
    return options.model_copy(update={"macs": share, "latency": None})


def prune_again(network: nn.Module, example: Tensor, file: Path) -> None:
    """Give `network`, in place, the shape that is written in `file`; raises InputError if that is another network's."""
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
