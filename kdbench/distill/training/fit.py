"""Train one network and write its weights, a summary and a curve.

The folder of a complete training holds `weights.safetensors`, `training.json` and `curve.csv`. Until then it holds the
curve so far and a checkpoint, from which an interrupted training resumes.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from kdbench.data.batches import Batches
from kdbench.distill.objective import Objective
from kdbench.distill.training import checkpoint
from kdbench.distill.training.allocator import freed_memory_kept
from kdbench.distill.training.curves import CurveFile, CurveLog, table
from kdbench.distill.training.devices import compute_threads, device_of, processes_of, resolved
from kdbench.distill.training.loop import TrainingLoop, TrainingState
from kdbench.distill.training.metering import NO_METER, EnergyMeter, EpochEnergy
from kdbench.distill.training.processes import process_group
from kdbench.errors import InputError, first_line
from kdbench.files import storage
from kdbench.progress import Progress
from kdbench.recipe import Training
from kdbench.results import cards

WEIGHTS = "weights.safetensors"
SUMMARY = "training.json"
CURVE = "curve.csv"
_UNFINISHED = "unfinished"


def finished(folder: Path, key: str) -> cards.Training | None:
    """Return the summary of the complete training in `folder` if its key is `key`, else None."""
    if not (folder / SUMMARY).exists() or not (folder / WEIGHTS).exists():
        return None
    content = _summary(folder)
    if content.get("key") != key:
        return None
    try:
        return cards.Training.model_validate(content["training"])
    except (ValidationError, KeyError):
        return None  # another version's summary: the training starts again


def epochs_done(folder: Path, key: str) -> int:
    """Return after how many epochs the interrupted training `key` in `folder` resumes; 0 if there is none.

    It may be one too many, because not every epoch has a checkpoint.
    """
    unfinished = folder / _UNFINISHED
    if checkpoint.key_of(unfinished) != key or not (unfinished / checkpoint.STATE).exists():
        return 0
    try:
        lines = (folder / CURVE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return max(len(lines) - 1, 0)  # without the header


def _summary(folder: Path) -> dict[str, Any]:
    """Return the content of a complete training's summary; raises InputError for one that changed since."""
    path = folder / SUMMARY
    content = storage.read_json(path, "training summary")
    if isinstance(content, dict):
        known = content.pop("sha256", None)  # earlier versions wrote none
        if known is None or known == storage.content_hash(content):
            return content
    message = f"{path} is not what the training wrote: it was changed or is damaged"
    raise InputError(message, _hint(folder))


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load a complete training's weights into `network`, on the CPU."""
    path = folder / WEIGHTS
    require_unchanged(folder)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        message = f"{path} does not hold the weights of the training: {first_line(error)}"
        raise InputError(message, _hint(folder)) from error


def require_unchanged(folder: Path) -> None:
    """Raise InputError if the weights of a complete training changed since; without a known hash they pass."""
    path, known = folder / WEIGHTS, _known_hash(folder)
    if known is not None and storage.sha256(path) != known:
        raise InputError(f"{path} is not what the training wrote: it was changed or is damaged", _hint(folder))


def _hint(folder: Path) -> str:
    return f"delete {folder} and resume: the model is trained again"


def _known_hash(folder: Path) -> str | None:
    """Return the SHA-256 of a complete training's weights; None for trainings of versions that did not keep it."""
    if not (folder / SUMMARY).exists():
        return None
    known = _summary(folder).get("weights_sha256")
    return known if isinstance(known, str) else None


def fit(
    network: nn.Module,
    objective: Objective,
    train: Batches,
    validation: Batches,
    training: Training,
    *,
    seed: int,
    folder: Path,
    key: str,
    progress: Progress,
    meter: EnergyMeter = NO_METER,
    logs: Sequence[CurveLog] = (),
) -> cards.Training:
    """Train `network` in place and write its weights to `folder`; resume an interrupted training with the same `key`.

    `network` ends with the weights of the best validation epoch or the last, as `training.keep` says, in evaluation
    mode, on the CPU. `key` is a hash of everything the result depends on; `meter` measures the energy of the epochs;
    `logs` receive the curve while it grows, as the file `curve.csv` does.
    Raises DivergedError if the loss stops being finite, StorageError if the folder cannot be written.

    A training on several devices runs in as many processes, which all call this with the same arguments and a `folder`
    that all can read; rank zero writes.
    """
    processes = process_group()
    assert processes.count == processes_of(training), "a training on several devices needs as many processes"
    unfinished = folder / _UNFINISHED
    resume = processes.on_rank_zero(checkpoint.prepare, unfinished, key)
    training = resolved(training, network, train.example())
    state = TrainingState(EpochEnergy(meter))
    train, validation = (batches.shared(processes.rank, processes.count) for batches in (train, validation))
    path = unfinished / checkpoint.STATE
    options = (seed, processes, state, path, progress, resume, (CurveFile(folder / CURVE), *logs))
    with compute_threads(training.threads), freed_memory_kept():
        TrainingLoop(network, objective, training, train, validation, *options).run()
        threads = torch.get_num_threads()
    if state.best_weights:
        network.load_state_dict(state.best_weights)
    network.cpu().to(memory_format=torch.contiguous_format)
    network.eval()
    epochs, best_epoch = len(state.curve), state.best_epoch(objective)
    seconds = sum(row.seconds for row in state.curve)
    energy, unmetered = state.energy.uses(epochs, seconds)
    prepared_s = sum(teacher.prepared_s for teacher in objective.teachers)
    summary = cards.Training(
        objective=objective.formula(epochs),
        epochs=epochs,
        best_epoch=best_epoch,
        kept_epoch=best_epoch if state.best_weights else epochs,
        seconds=seconds,
        precision=training.precision,
        device=device_of(training).type,
        threads=threads,
        seed=seed,
        stopped_early=epochs < training.epochs,
        energy=energy,
        unmetered=unmetered,
        teacher=objective.teachers[0].kind if objective.teachers else None,
        # The processes wait for each other's preparation and do not repeat it.
        teacher_s=float(processes.summed(torch.tensor(prepared_s, dtype=torch.float64))),
        curve=tuple(state.curve),
    )
    processes.on_rank_zero(_write_results, network, summary, folder, key)
    return summary


def discard_checkpoints(root: Path) -> None:
    """Remove the checkpoints of complete trainings in `root`: their processes were killed before they removed them."""
    for unfinished in root.glob(f"*/{_UNFINISHED}"):
        folder, key = unfinished.parent, checkpoint.key_of(unfinished)
        with suppress(InputError):  # a damaged summary is for its training to report
            # Without a key, the process was killed while it removed them, or has just begun to write them.
            if (folder / SUMMARY).exists() if key is None else finished(folder, key) is not None:
                shutil.rmtree(unfinished, ignore_errors=True)


def adopt(network: nn.Module, folder: Path, key: str, *, seed: int) -> None:
    """Write the weights of a network that kdbench does not train to `folder`, as a complete training of 0 epochs."""
    summary = cards.Training(
        objective="none: not trained here",
        epochs=0,
        best_epoch=0,
        kept_epoch=0,
        seconds=0.0,
        precision="32",
        device="cpu",
        threads=torch.get_num_threads(),
        seed=seed,
    )
    _write_results(network, summary, storage.make_folder(folder), key)


def _write_results(network: nn.Module, summary: cards.Training, folder: Path, key: str) -> None:
    # The summary of an earlier training with another key no longer describes the folder.
    (folder / SUMMARY).unlink(missing_ok=True)
    with storage.replacing(folder / WEIGHTS) as path:
        # Copies, because the format refuses tied weights, which share their memory.
        save_file({name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, path)
    storage.write_text(folder / CURVE, table(summary.curve))
    # Last: its presence marks the training as complete.
    hash_ = storage.sha256(folder / WEIGHTS)
    content = {"key": key, "training": summary.model_dump(mode="json"), "weights_sha256": hash_}
    storage.write_json(folder / SUMMARY, {**content, "sha256": storage.content_hash(content)})
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=not summary.epochs)
