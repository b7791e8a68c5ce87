"""One training run as Lightning sees it: steps, validation, and a row of the curve per epoch."""

import math
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn, optim

from kdbench.data.batches import Batch, Batches
from kdbench.data.counter import key_of
from kdbench.distill.compiling import compiled
from kdbench.distill.losses import cross_entropy
from kdbench.distill.metering import EnergyMeter, EpochEnergy
from kdbench.distill.objective import Objective
from kdbench.distill.optimize import build_optimizer, learning_rate_factor
from kdbench.distill.processes import Processes
from kdbench.distill.tally import Tally, means
from kdbench.errors import DivergedError
from kdbench.recipe import Training
from kdbench.results.cards import Epoch

ALONE = Processes()
_CHANCE = 0x64726177  # a key of its own: what is drawn has nothing to do with the order of the samples


class TrainingModule(pl.LightningModule):
    """Trains `network` under `objective`; validates with plain cross-entropy, in evaluation mode.

    `batches` and `validation` are this process's parts of them. `curve` grows by one row per epoch, the same in all
    `processes`; `best_weights` are the network's after the epoch of the best validation accuracy so far, if they are to
    be kept; `energy` is that of the epochs, by `meter`. All are saved in Lightning's checkpoints, so that a resumed
    training ends as an uninterrupted one.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        training: Training,
        batches: Batches,
        validation: Batches,
        seed: int,
        meter: EnergyMeter | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.training_options = training
        self.batches = batches
        self.validation = validation
        self.seed = seed
        self.processes = processes
        self.curve: list[Epoch] = []
        self.best_weights: dict[str, Tensor] = {}
        self.energy = EpochEnergy(meter)
        # In a tuple, where torch does not take it for a part of this module: its weights are the network's.
        self._compiled = (compiled(network),) if training.compile else ()

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of every hook that it calls, some forty times a step; torch would look each of them
        # up among parameters, buffers and modules first, for a sixth of Lightning's time.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def best_epoch(self) -> int:
        """The first epoch, from 1, with the best validation accuracy; 0 before any.

        Epochs in which a term was alone count only while there are no others: the network is not whole yet.
        """
        whole = [row for row in self.curve if row.epoch > self.objective.whole_from]
        return max(whole or self.curve, key=lambda row: row.validation_top1).epoch if self.curve else 0

    def configure_optimizers(self) -> optim.Optimizer:
        """Return the optimiser over the network's and the methods' parameters."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return build_optimizer(self.training_options.optimizer, parameters)

    def on_fit_start(self) -> None:
        """Put the teachers, which Lightning does not know, on the device."""
        for teacher in self.objective.teachers:
            teacher.to(self.device)
        self._factor = learning_rate_factor(self.training_options)
        self.trainer.should_stop = self._out_of_patience()  # a training that ended, and was killed before it was kept

    def on_train_epoch_start(self) -> None:
        """Key every source of chance to (seed, epoch): a resumed epoch repeats what it would have been."""
        self.batches.set_epoch(self.current_epoch)
        # Each process draws dropout masks of its own, for its samples are others.
        torch.manual_seed(key_of(_CHANCE, self.seed, self.current_epoch, self.processes.rank))
        tapped = any(term.method.student_layers for term in self.objective.holding(self.current_epoch))
        # A compiled network has no inner layers left to be tapped.
        self._student = (self.network,) if tapped or not self._compiled else self._compiled
        self._train = Tally()
        self._epoch_began = time.perf_counter()
        self.energy.begin()

    def on_train_batch_start(self, _batch: Batch, index: int) -> None:
        """Set the step's learning rate: a function of the time alone, less work than a schedule with a state."""
        rate = self._rate(index)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch, such that the mean over the processes is the mean over all its samples."""
        loss: Tensor
        loss, logits = self.objective(self._student[0], batch, self.current_epoch)
        part = self.batches.parts[index]
        self._train.add(loss, logits, batch.labels, part.counted)
        return loss if part.weight == 1 else loss * part.weight

    def on_validation_epoch_start(self) -> None:
        """Begin new sums."""
        self._validation = Tally()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the validation's sums."""
        logits = self.network(batch.images)
        counted = self.validation.parts[index].counted
        self._validation.add(cross_entropy(logits, batch.labels), logits, batch.labels, counted)

    def on_validation_epoch_end(self) -> None:
        """Close the epoch's row of the curve (Lightning validates before it ends the training epoch)."""
        train, validation = means((self._train, self._validation), self.processes)
        if not math.isfinite(train.loss) or not math.isfinite(validation.loss):
            raise DivergedError(
                f"training diverged: in epoch {self.current_epoch + 1} the loss is {train.loss} in training and "
                f"{validation.loss} in validation",
                "try a lower training.optimizer.lr, gradient clipping (training.clip = 1.0) or precision 32",
            )
        self.energy.end()
        self.curve.append(
            Epoch(
                epoch=self.current_epoch + 1,
                train_loss=train.loss,
                train_top1=train.top1,
                validation_loss=validation.loss,
                validation_top1=validation.top1,
                learning_rate=self._rate(0),
                seconds=self.processes.broadcast(time.perf_counter() - self._epoch_began),
            )
        )
        if self.training_options.keep == "best" and self.best_epoch == len(self.curve):
            now = self.network.state_dict()
            self.best_weights = {name: value.detach().cpu().clone() for name, value in now.items()}
        self.trainer.should_stop = self._out_of_patience()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curve, the energy and the best weights with the latest."""
        checkpoint["best_weights"] = self.best_weights
        checkpoint["curve"] = [epoch.model_dump() for epoch in self.curve]
        checkpoint["energy"] = {"joules": self.energy.joules, "epochs": self.energy.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curve, the energy and the best weights up where they were left."""
        self.best_weights = checkpoint["best_weights"]
        self.curve = [Epoch.model_validate(epoch) for epoch in checkpoint["curve"]]
        metered = checkpoint.get("energy", {"joules": {}, "epochs": {}})
        self.energy.joules, self.energy.epochs = metered["joules"], metered["epochs"]

    def _rate(self, index: int) -> float:
        """Return the learning rate of step `index` of the current epoch."""
        steps = len(self.batches)
        return self.training_options.optimizer.lr * self._factor((self.current_epoch * steps + index) / steps)

    def _out_of_patience(self) -> bool:
        patience = self.training_options.patience
        begun = len(self.curve) > self.objective.whole_from
        return patience is not None and begun and len(self.curve) - self.best_epoch >= patience
