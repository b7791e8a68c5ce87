"""One training run as Lightning sees it: steps, validation, and a row of the curve per epoch."""

import math
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn, optim

from kdbench.cards import Epoch
from kdbench.data.batches import Batch, Batches
from kdbench.distill.losses import correct, cross_entropy
from kdbench.distill.metering import EnergyMeter, EpochEnergy
from kdbench.distill.objective import Objective
from kdbench.distill.optimize import build_optimizer, learning_rate_factor
from kdbench.errors import DivergedError
from kdbench.recipe import Training

MONITORED = "validation_top1"


class _Tally:
    """Sums over an epoch, kept on the device: reading a number at every step would wait for it."""

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.correct: Tensor | float = 0.0
        self.samples = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.loss = self.loss + loss.detach().float() * len(labels)
        self.correct = self.correct + correct(logits.detach(), labels)
        self.samples += len(labels)

    def means(self) -> tuple[float, float]:
        return float(self.loss) / self.samples, float(self.correct) / self.samples


class TrainingModule(pl.LightningModule):
    """Trains `network` under `objective`; validates with plain cross-entropy, in evaluation mode.

    `curve` grows by one row per epoch; `best_weights` are the network's after the epoch of the best validation
    accuracy so far, if they are to be kept; `energy` is that of the epochs, by `meter`. All are saved in Lightning's
    checkpoints, so that a resumed training ends as an uninterrupted one.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        training: Training,
        batches: Batches,
        seed: int,
        meter: EnergyMeter | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.training_options = training
        self.batches = batches
        self.seed = seed
        self.curve: list[Epoch] = []
        self.best_weights: dict[str, Tensor] = {}
        self.energy = EpochEnergy(meter)

    @property
    def best_epoch(self) -> int:
        """The first epoch, from 1, with the best validation accuracy; 0 before any."""
        return max(self.curve, key=lambda row: row.validation_top1).epoch if self.curve else 0

    def configure_optimizers(self) -> Any:
        """Return the optimiser over the network's and the methods' parameters, its rate set at every step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = build_optimizer(self.training_options.optimizer, parameters)
        factor = learning_rate_factor(self.training_options)
        steps = len(self.batches)
        schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Put the teachers, which Lightning does not know, on the device."""
        for teacher in self.objective.teachers:
            teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Key every source of chance to (seed, epoch): a resumed epoch repeats what it would have been."""
        self.batches.set_epoch(self.current_epoch)
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)
        self._train = _Tally()
        self._learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self._epoch_began = time.perf_counter()
        self.energy.begin()

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Return the loss of one batch."""
        loss: Tensor
        loss, logits = self.objective(self.network, batch, self.current_epoch)
        self._train.add(loss, logits, batch.labels)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin new sums."""
        self._validation = _Tally()

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Add one batch to the validation's sums."""
        logits = self.network(batch.images)
        self._validation.add(cross_entropy(logits, batch.labels), logits, batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Close the epoch's row of the curve (Lightning validates before it ends the training epoch)."""
        train_loss, train_top1 = self._train.means()
        validation_loss, validation_top1 = self._validation.means()
        if not math.isfinite(train_loss) or not math.isfinite(validation_loss):
            raise DivergedError(
                f"training diverged: in epoch {self.current_epoch + 1} the loss is {train_loss} in training and "
                f"{validation_loss} in validation",
                "try a lower training.optimizer.lr, gradient clipping (training.clip = 1.0) or precision 32",
            )
        self.energy.end()
        self.curve.append(
            Epoch(
                epoch=self.current_epoch + 1,
                train_loss=train_loss,
                train_top1=train_top1,
                validation_loss=validation_loss,
                validation_top1=validation_top1,
                learning_rate=self._learning_rate,
                seconds=time.perf_counter() - self._epoch_began,
            )
        )
        self.log(MONITORED, validation_top1)
        if self.training_options.keep == "best" and self.best_epoch == len(self.curve):
            now = self.network.state_dict()
            self.best_weights = {name: value.detach().cpu().clone() for name, value in now.items()}

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
