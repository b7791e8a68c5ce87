"""Fit one network with Lightning's Trainer and leave safetensors, a summary and a curve behind.

A checkpoint folder holds `weights.safetensors`, `training.json` and `curve.csv` once the training is complete;
until then Lightning's own checkpoints, from which an interrupted training goes on.
"""

import csv
import io
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from kdbench import cards, storage
from kdbench.data.batches import Batches
from kdbench.distill.metering import EnergyMeter
from kdbench.distill.module import MONITORED, TrainingModule
from kdbench.distill.objective import Objective
from kdbench.distill.placement import device_of, resolved
from kdbench.progress import Progress
from kdbench.recipe import Training

WEIGHTS = "weights.safetensors"
SUMMARY = "training.json"
CURVE = "curve.csv"
_UNFINISHED = "unfinished"
_LATEST = "latest"

_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def finished(folder: Path, key: str) -> cards.Training | None:
    """Return the summary of the training that `folder` holds, if it is complete and was made under `key`."""
    if not (folder / SUMMARY).exists() or not (folder / WEIGHTS).exists():
        return None
    content = storage.read_json(folder / SUMMARY, "training summary")
    if content.get("key") != key:
        return None
    try:
        return cards.Training.model_validate(content["training"])
    except ValidationError:
        return None  # another version's summary: the training is done again rather than half understood


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load a complete training's weights into `network`, on the CPU."""
    network.load_state_dict(load_file(folder / WEIGHTS))


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
    meter: EnergyMeter | None = None,
) -> cards.Training:
    """Train `network` in place and leave its weights in `folder`; go on where an earlier try under `key` stopped.

    `network` ends with the weights of the best validation epoch or the last, as `training.keep` says, in
    evaluation mode, on the CPU. `key` is a hash of everything the result depends on; `meter` tells the energy of the
    epochs. Raises DivergedError if the loss stops being finite, StorageError if the folder cannot be written.
    """
    unfinished = folder / _UNFINISHED
    checkpoint = _resumable(unfinished, key)
    storage.write_json(storage.make_folder(unfinished) / "key.json", {"key": key})
    training = resolved(training, network)
    module = TrainingModule(network, objective, training, train, seed, meter)
    if training.channels_last:
        module.to(memory_format=torch.channels_last)
    with _threads(training.threads):
        _run_trainer(module, validation, training, unfinished, checkpoint, progress)
        threads = torch.get_num_threads()
    if module.best_weights:
        network.load_state_dict(module.best_weights)
    network.cpu().to(memory_format=torch.contiguous_format).eval()
    seconds = sum(row.seconds for row in module.curve)
    energy, unmetered = module.energy.uses(len(module.curve), seconds)
    summary = cards.Training(
        objective=objective.formula(),
        epochs=len(module.curve),
        best_epoch=module.best_epoch,
        kept_epoch=module.best_epoch if module.best_weights else len(module.curve),
        seconds=seconds,
        precision=training.precision,
        device=device_of(training).type,
        threads=threads,
        seed=seed,
        stopped_early=len(module.curve) < training.epochs,
        energy=energy,
        unmetered=unmetered,
        curve=tuple(module.curve),
    )
    _leave_behind(network, summary, folder, key)
    return summary


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads while the block runs; None leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _resumable(unfinished: Path, key: str) -> Path | None:
    """Return Lightning's last checkpoint of an interrupted training under `key`; clear away any other's."""
    if not unfinished.exists():
        return None
    marker = unfinished / "key.json"
    last = unfinished / f"{_LATEST}.ckpt"
    if last.exists() and marker.exists() and storage.read_json(marker, "checkpoint key").get("key") == key:
        return last
    _clear(unfinished)
    return None


def _run_trainer(
    module: TrainingModule,
    validation: Batches,
    training: Training,
    unfinished: Path,
    checkpoint: Path | None,
    progress: Progress,
) -> None:
    # Without a monitor it keeps the latest alone, which is all that resuming needs.
    latest = ModelCheckpoint(unfinished, _LATEST, save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks: list[Callback] = [latest, _Watch(progress)]
    if training.patience is not None:
        callbacks.append(EarlyStopping(MONITORED, mode="max", patience=training.patience))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning's advice on workers and logging intervals is for loaders and loggers that are not used here.
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        trainer = pl.Trainer(
            max_epochs=min(training.stop_at or training.epochs, training.epochs),
            accelerator="gpu" if device_of(training).type == "cuda" else "cpu",
            devices=1,
            precision=_PRECISION[training.precision],
            gradient_clip_val=training.clip,
            callbacks=callbacks,
            default_root_dir=unfinished,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, module.batches, validation, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:
            # Lightning turns Ctrl-C into exit(1) and leaves SIGINT ignored; the caller decides about both.
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, on_interrupt)


class _Watch(Callback):
    """Tells the progress how far the training is; at most ten times a second, so that it costs nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.1
        assert isinstance(module, TrainingModule)
        total = len(module.batches) * (trainer.max_epochs or 1)
        self._progress.step(trainer.global_step, total, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, TrainingModule)
        row = module.curve[-1]
        detail = (
            f"epoch {row.epoch}/{trainer.max_epochs}, loss {row.train_loss:.4f}, validation {row.validation_top1:.2%}"
        )
        self._progress.step(trainer.global_step, len(module.batches) * (trainer.max_epochs or 1), detail)


def _leave_behind(network: nn.Module, summary: cards.Training, folder: Path, key: str) -> None:
    with storage.replacing(folder / WEIGHTS) as path:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(cards.Epoch.model_fields))
    writer.writeheader()
    writer.writerows(row.model_dump() for row in summary.curve)
    storage.write_text(folder / CURVE, table.getvalue())
    # Last of all: its presence says that the training is complete.
    storage.write_json(folder / SUMMARY, {"key": key, "training": summary.model_dump(mode="json")})
    _clear(folder / _UNFINISHED)


def _clear(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
