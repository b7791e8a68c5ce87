"""Lightning's side of a training: its `Trainer`, what it saves on the way, and how far it is."""

import logging
import signal
import threading
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.profilers import PassThroughProfiler

from kdbench import storage
from kdbench.distill.devices import devices_of, processes_of, strategy_of
from kdbench.distill.module import TrainingModule
from kdbench.distill.placement import device_of
from kdbench.distill.processes import environment
from kdbench.progress import Progress
from kdbench.recipe import Training

# Saving the weights and the optimiser's state after every epoch of a second would be a good part of the training; what
# a kill can cost is as little as this.
SAVE_EVERY_S = 10.0

_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def run(module: TrainingModule, training: Training, latest: Path, progress: Progress, *, resume: bool) -> None:
    """Train `module` to the end, from the checkpoint `latest` if it is to be resumed.

    Raises KeyboardInterrupt as it comes, which Lightning would not.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning's advice on workers and logging intervals is for loaders and loggers that are not used here.
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        trainer = _trainer(training, latest, progress)
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(
                module, module.batches, module.validation, ckpt_path=latest if resume else None, weights_only=True
            )
        except SystemExit:
            # Lightning turns Ctrl-C into exit(1) and leaves SIGINT ignored; the caller decides about both.
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, on_interrupt)


def _trainer(training: Training, latest: Path, progress: Progress) -> pl.Trainer:
    on_gpu = device_of(training).type == "cuda"
    return pl.Trainer(
        max_epochs=training.last_epoch,
        accelerator="gpu" if on_gpu else "cpu",
        devices=devices_of(training),
        num_nodes=training.num_nodes,
        strategy=strategy_of(training),
        # On CPUs torch has no batch norm over several processes.
        sync_batchnorm=on_gpu and processes_of(training) > 1,
        use_distributed_sampler=False,  # batches know their parts
        precision=_PRECISION[training.precision],
        gradient_clip_val=training.clip,
        # Named, for Lightning would take a batch script's variables for those of processes that nobody started.
        plugins=[_Whole(), environment() or LightningEnvironment()],
        callbacks=[_Keeper(latest, progress)],
        profiler=_Unprofiled(),
        default_root_dir=latest.parent,
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


class _Whole(TorchCheckpointIO):
    """Checkpoints that are whole or not there, however the process ends.

    Lightning's own are written to the system's folder for temporary files and moved, which on another disk is a copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        assert storage_options is None, "for stores that are no folders"
        with storage.replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class _Unprofiled(PassThroughProfiler):
    """No profiler, at no cost: Lightning asks it some forty times a step, and its own one makes a generator each."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:  # noqa: ARG002 - the base's name
        return self._nothing


class _Keeper(Callback):
    """Saves the training now and then, and tells the progress how far it is, at most ten times a second."""

    def __init__(self, latest: Path, progress: Progress) -> None:
        self._latest = latest
        self._progress = progress
        self._next = 0.0
        self._unsaved_s = 0.0

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
        # By the curve's clock, which all processes share: they save together or not at all.
        self._unsaved_s += row.seconds
        if self._unsaved_s >= SAVE_EVERY_S:
            self._unsaved_s = 0.0
            trainer.save_checkpoint(self._latest)
