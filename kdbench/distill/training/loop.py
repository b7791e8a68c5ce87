"""The training loop: epochs of steps with a validation after each, on the devices that Fabric provides."""

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kdbench.data.batches import Batch, Batches
from kdbench.data.selection import key_of
from kdbench.distill.module_paths import frozen_modules
from kdbench.distill.objective import Objective
from kdbench.distill.training import checkpoint
from kdbench.distill.training.accumulation import shares
from kdbench.distill.training.averaging import WeightAverage
from kdbench.distill.training.curves import CurveLog
from kdbench.distill.training.devices import compile_forward, launched_fabric
from kdbench.distill.training.metering import EpochEnergy
from kdbench.distill.training.optimize import build_optimizer, learning_rate_factor, parameter_groups, plateau_factor
from kdbench.distill.training.processes import Processes
from kdbench.distill.training.tally import Tally, means
from kdbench.errors import DivergedError, InputError
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins.seeding import seeded
from kdbench.progress import Progress
from kdbench.recipe import Training
from kdbench.results.cards import Epoch

# Saving after every one-second epoch would slow the training; a killed training loses at most this.
SAVE_INTERVAL_S = 10.0

_PROGRESS_INTERVAL_S = 0.1
_STEP_STREAM = 0x64726177  # keeps the random numbers of a step independent of the order of the samples
_NO_CONTEXT = nullcontext()


@dataclass
class TrainingState:
    """The results of the epochs so far, the same in all processes; saved in checkpoints.

    `curve` has one row per epoch. `best_weights` are those after the epoch with the best validation score; empty unless
    the training keeps the best.
    """

    energy: EpochEnergy
    curve: list[Epoch] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def best_epoch(self, objective: Objective) -> int:
        """Return the first epoch, from 1, with the best validation score; 0 before any.

        Epochs of a term with `alone` count only if there are no others, because the network is not complete yet.
        """
        complete = [row for row in self.curve if row.epoch > objective.first_full_epoch]
        return max(complete or self.curve, key=lambda row: row.validation_score).epoch if self.curve else 0


@dataclass(eq=False)
class TrainingLoop:
    """Trains `network` under `objective`; validates with the task's loss alone, in evaluation mode.

    `batches` and `validation` are this process's parts. `resume` starts from the checkpoint at `path`. `logs`
    receive the curve in the first process.
    """

    network: nn.Module
    objective: Objective
    training: Training
    batches: Batches
    validation: Batches
    seed: int
    processes: Processes
    state: TrainingState
    path: Path
    progress: Progress
    resume: bool
    logs: Sequence[CurveLog] = ()

    def __post_init__(self) -> None:
        self._fabric = launched_fabric(self.training)
        self._step = _Step(self.network, self.objective, compile_network=bool(self.training.compile))
        if self.training.channels_last:
            self._step.to(memory_format=torch.channels_last)
        # On CPUs torch has no batch norm over several processes.
        if self.processes.count > 1 and self._fabric.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(self._step)  # type: ignore[no-untyped-call]
        self._step.frozen = frozen_modules(self.network, self.training.freeze)
        saved = checkpoint.load(self.path) if self.resume else None
        if saved is not None:
            self._step.load_state_dict(saved["step"])
        # Use the strategy directly: Fabric's wrappers of module and optimizer slow down the steps of a tiny network.
        strategy = self._fabric.strategy
        strategy.module_to_device(self._step)
        self._forward = strategy.setup_module(self._step)
        for teacher in self.objective.teachers:
            teacher.to(self._fabric.device)
        groups = parameter_groups(self.training.optimizer, self.network, [self.objective])
        self._optimizer = build_optimizer(self.training.optimizer, groups)
        self._group_factors = [group.factor for group in groups]
        if saved is not None:
            self._optimizer.load_state_dict(saved["optimizer"])
            strategy.precision.load_state_dict(saved["precision"])
            self.state.curve = [Epoch.model_validate(row) for row in saved["curve"]]
            self.state.best_weights = saved["best_weights"]
            self.state.energy.joules, self.state.energy.epochs = saved["joules"], saved["metered_epochs"]
        ema = self.training.ema
        self._average = WeightAverage(self.network, ema, saved and saved["average"]) if ema is not None else None
        self._factor = learning_rate_factor(self.training)
        self._shares = shares(self.batches.parts, self.batches.sizes, self.training.accumulate)
        self._updates_per_epoch = self._shares[-1].update + 1
        self._plateau_factor = 1.0
        self._next_progress = 0.0

    def run(self) -> None:
        """Train to the end. Raises DivergedError if the loss stops being finite."""
        unsaved_s = 0.0
        for log in self.logs if self.processes.first else ():
            log.begin(self.state.curve)
        while len(self.state.curve) < self.training.last_epoch and not self._out_of_patience():
            row = self._epoch(len(self.state.curve))
            detail = f", loss {row.train_loss:.4f}, {self.objective.task.summary(row)}"
            self._report(row.epoch * len(self.batches), row.epoch, detail)
            # Before the checkpoint: a log is never older than its checkpoint.
            for log in self.logs if self.processes.first else ():
                log.extend(self.state.curve)
            unsaved_s += row.seconds
            if self.processes.first and unsaved_s >= SAVE_INTERVAL_S:
                unsaved_s = 0.0
                self._save()
        if self._average is not None:
            self._average.exchange()

    def _epoch(self, epoch: int) -> Epoch:
        """Train and validate one epoch, from 0; return its row of the curve."""
        began = time.perf_counter()
        self.state.energy.begin()
        self._plateau_factor = self._next_plateau_factor()
        with seeded(self._seed_of(epoch)):  # for user networks that draw from other generators than torch's
            training = self._train(epoch)
        with self._weights_to_keep():
            tallies = (training, self._validate(epoch))
            (train_loss, train_score, _), validated = means(tallies, self.processes)
            validation_loss, validation_score, weighted_score = validated
            if not math.isfinite(train_loss) or not math.isfinite(validation_loss):
                losses = f"{train_loss} in training and {validation_loss} in validation"
                hint = "try a lower training.optimizer.lr, gradient clipping (training.clip) or training.precision 32"
                raise DivergedError(f"training diverged: in epoch {epoch + 1} the loss is {losses}", hint)
            self.state.energy.end()
            row = Epoch(
                epoch=epoch + 1,
                train_loss=train_loss,
                validation_loss=validation_loss,
                **self.objective.task.scores(train_score, validation_score),
                validation_weighted_top1=None if self.objective.class_weights is None else weighted_score,
                learning_rate=self._learning_rate(epoch, 0),
                seconds=self.processes.broadcast(time.perf_counter() - began),
            )
            self.state.curve.append(row)
            if self.training.keep == "best" and self.state.best_epoch(self.objective) == row.epoch:
                weights = self.network.state_dict()
                self.state.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        return row

    def _weights_to_keep(self) -> AbstractContextManager[None]:
        """Put the averaged weights, if there are any, into the network while the context lasts."""
        return nullcontext() if self._average is None else self._average.in_network()

    def _train(self, epoch: int) -> Tally:
        """Do the steps of an epoch.

        Every random number depends on (seed, epoch) alone, so that a resumed epoch repeats exactly. Each process draws
        different dropout masks, because its samples differ.
        """
        self.batches.set_epoch(epoch)
        self._step.train()  # a network may have been built or left in evaluation mode
        torch.manual_seed(self._seed_of(epoch))
        tally, strategy, clip = Tally(self.objective.task), self._fabric.strategy, self.training.clip
        parts = zip(self.batches, self.batches.parts, self._shares, strict=True)
        for index, (batch, part, share) in enumerate(parts):
            if share.first:
                rate = self._learning_rate(epoch, share.update)
                for group, factor in zip(self._optimizer.param_groups, self._group_factors, strict=True):
                    group["lr"] = rate * factor
            with _NO_CONTEXT if share.last else self._without_sync():
                with self._fabric.autocast():
                    loss, logits = self._forward(batch, epoch)
                tally.add(loss, logits, batch.labels, part.counted)
                if share.first:
                    self._optimizer.zero_grad()
                # Weighted so that the mean over the processes is the mean over all samples of the update.
                self._fabric.backward(loss if share.weight == 1 else loss * share.weight)
            if share.last:
                if clip is not None:
                    self._fabric.clip_gradients(self._step, self._optimizer, max_norm=clip, error_if_nonfinite=False)
                strategy.optimizer_step(self._optimizer)
                if self._average is not None:
                    self._average.update(epoch * self._updates_per_epoch + share.update + 1)
            if time.monotonic() >= self._next_progress:
                self._report(epoch * len(self.batches) + index + 1, epoch + 1)
        return tally

    def _seed_of(self, epoch: int) -> int:
        return key_of(_STEP_STREAM, self.seed, epoch, self.processes.rank)

    def _without_sync(self) -> AbstractContextManager[None]:
        """Add up gradients in each process only: the update's last batch, outside the context, exchanges the sums."""
        if isinstance(self._forward, DistributedDataParallel):
            return self._forward.no_sync()
        return _NO_CONTEXT

    def _validate(self, epoch: int) -> Tally:
        tally = Tally(self.objective.task, self.objective.class_weights)
        # Not in inference mode: a table that a user's network makes here may serve the next training step.
        with torch.no_grad(), evaluation_mode(self._step), self._fabric.autocast():
            for batch, part in zip(self.validation, self.validation.parts, strict=True):
                # Through DDP, which gives all processes the batch norm statistics of the first.
                loss, logits = self._forward(batch, epoch)
                tally.add(loss, logits, batch.labels, part.counted)
        return tally

    def _learning_rate(self, epoch: int, update: int) -> float:
        """Return the learning rate of update `update`, from 0, of an epoch, without the factors of layers."""
        # Not epoch + update / updates: its last bits differ.
        time_epochs = (epoch * self._updates_per_epoch + update) / self._updates_per_epoch
        return self.training.optimizer.lr * self._factor(time_epochs) * self._plateau_factor

    def _next_plateau_factor(self) -> float:
        """Return the factor of the schedule "plateau" on the next epoch's learning rate, from the curve so far."""
        schedule = self.training.schedule
        if schedule.name != "plateau":
            return 1.0
        rows = [row for row in self.state.curve if row.epoch > self.objective.first_full_epoch]
        losses = [row.validation_loss for row in rows]
        accuracies = [row.validation_score for row in rows]
        return plateau_factor(schedule, losses if schedule.monitor == "loss" else accuracies)

    def _out_of_patience(self) -> bool:
        patience, epochs = self.training.patience, len(self.state.curve)
        complete = epochs > self.objective.first_full_epoch
        since = max(self.state.best_epoch(self.objective), self.objective.last_beginning)
        return patience is not None and complete and epochs - since >= patience

    def _report(self, steps: int, epoch: int, detail: str = "") -> None:
        """Report the progress after `steps` steps, in `epoch`, from 1."""
        self._next_progress = time.monotonic() + _PROGRESS_INTERVAL_S
        epochs = self.training.last_epoch
        self.progress.step(steps, len(self.batches) * epochs, f"epoch {epoch}/{epochs}{detail}")

    def _save(self) -> None:
        content = {
            "step": self._step.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "precision": self._fabric.strategy.precision.state_dict(),
            "curve": [row.model_dump() for row in self.state.curve],
            "best_weights": self.state.best_weights,
            "average": self._average.state() if self._average is not None else None,
            "joules": self.state.energy.joules,
            "metered_epochs": self.state.energy.epochs,
        }
        checkpoint.save(self.path, content)


class _Step(nn.Module):
    """A network with its loss as one module, which DDP wraps: the objective in training, else the task's loss alone."""

    def __init__(self, network: nn.Module, objective: Objective, *, compile_network: bool) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        # In a tuple, so that torch does not register it as a submodule: its weights are the network's.
        self._compiled = (compile_forward(network),) if compile_network else ()
        self.frozen: list[nn.Module] = []

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch, a scalar, and the network's logits (B, C)."""
        if not self.training:
            logits, _ = self.objective.run(self.network, batch.inputs)
            return self.objective.validation_loss(logits, batch.labels), logits
        # A compiled network has no inner layers that hooks could read.
        needs_features = any(term.method.student_layers for term in self.objective.active_terms(epoch))
        network = self._compiled[0] if self._compiled and not needs_features else self.network
        loss, logits = self.objective(network, batch, epoch)
        if self.frozen and not loss.requires_grad:
            message = f"the loss of epoch {epoch + 1} depends on no weight that training.freeze leaves trainable"
            raise InputError(message, "freeze fewer modules, or leave out the term with alone = true")
        return loss, logits
