"""What a pruned network lost, written beside its checkpoint so that the network can be built again."""

from pathlib import Path

from pydantic import Field
from torch import Tensor, nn

from kdbench import storage
from kdbench.distill import pruning
from kdbench.errors import InputError
from kdbench.plugins import describe_failure
from kdbench.recipe import Prune, Student
from kdbench.results.cards import Pruning
from kdbench.results.run_folder import RunFolder
from kdbench.results.values import StoredValue
from kdbench.workflows.study.plan import Job

_FILE = "pruning.json"


class Removed(StoredValue):
    """The channels that a network lost, and the share of its MACs that remained.

    `key` is a hash of the weights that it was pruned from and of how.
    """

    file_kind = "record of pruning"
    hint = "delete its folder and resume: the model is pruned and trained again"

    key: str
    macs_share: float = Field(gt=0, le=1)
    history: tuple[tuple[str, bool, tuple[int, ...]], ...]


def removed_file(folder: RunFolder, job: Job) -> Path:
    """Return where the channels that a job's network lost are written."""
    return folder.checkpoint(job.id) / _FILE


def options_of(job: Job) -> Prune | None:
    """Return how a job's network is pruned; None if it is not."""
    return job.entry.prune if isinstance(job.entry, Student) else None


def prune_once(network: nn.Module, example: Tensor, options: Prune, name: str, weights: Path, file: Path) -> None:
    """Prune `network`, in place, which has the `weights` of that file, and write to `file` what it lost.

    A training that is resumed finds it there: another machine may add up magnitudes in another order.
    """
    key = storage.content_hash({"of": storage.sha256(weights), "prune": options.model_dump(mode="json")})
    if file.exists() and _read(file).key == key:
        prune_again(network, example, file)
        return
    done = pruning.prune(network, example, options, name)
    storage.make_folder(file.parent)
    Removed.model_validate({"key": key, "macs_share": done.macs / done.macs_before, "history": done.history}).write(
        file
    )


def prune_again(network: nn.Module, example: Tensor, file: Path) -> None:
    """Give `network`, in place, the shape that is written in `file`; raises InputError if that is another network's."""
    history = _read(file).history
    try:
        pruning.rebuild(network, example, history)
    except Exception as error:
        raise InputError(f"{file} does not fit the network: {describe_failure(error)}", Removed.hint) from error


def pruning_of(job: Job, folder: RunFolder) -> Pruning | None:
    """Return what a job's trained network was pruned from; None if it was not."""
    if options_of(job) is None:
        return None
    assert job.start is not None, "a pruned network has a source"
    return Pruning(of=job.start.id, macs_share=_read(removed_file(folder, job)).macs_share)


def _read(file: Path) -> Removed:
    """Return what a file holds; an error's hint is the same for a missing, a damaged and an invalid one."""
    try:
        return Removed.read(file)
    except InputError as error:
        raise InputError(error.message, Removed.hint) from error
