"""Weights & Biases: one run per model, in a project with the study's name; offline unless asked otherwise."""

import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.distill.tracker import TrackedModel, Tracker
from kdbench.distill.trackers import TRACKERS
from kdbench.distill.trackers.client_runs import TrackerRun, known_run, remember_run
from kdbench.files import storage
from kdbench.results.cards import Epoch


@TRACKERS.register("wandb")
class WeightsAndBiases(Tracker):
    """Writes offline runs to `wandb/` in the tracker's folder, for `wandb sync`; with WANDB_MODE=online it sends them.

    Neither source files nor console output nor facts about the machine are logged.
    """

    modules = ("wandb",)
    extra = "wandb"

    def __init__(self, model: TrackedModel) -> None:
        super().__init__(model)
        self._run: Any = None
        self._last = 0  # the last epoch that is logged

    def begin(self, curve: Sequence[Epoch]) -> None:
        import wandb

        known = known_run(self.model)
        id_ = secrets.token_hex(4) if known is None else known.id
        self._last = 0 if known is None else known.last
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=self.model.study,
            name=self.model.id,
            id=id_,
            resume="allow",
            dir=str(storage.make_folder(self.model.folder)),
            mode=mode,
            config=dict(self.model.parameters),
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                reinit="create_new",  # the user may have another run in this process
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        for row in curve:
            self._log(row)
        remember_run(self.model, TrackerRun(id_, self._last))

    def extend(self, curve: Sequence[Epoch]) -> None:
        self._log(curve[-1])
        remember_run(self.model, TrackerRun(self._run.id, self._last))

    def results(self, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))

    def close(self, *, complete: bool) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if complete else 1)

    def _log(self, row: Epoch) -> None:
        if row.epoch > self._last:  # Weights & Biases takes each step once
            self._run.log({name: value for name, value in row.columns.items() if name != "epoch"}, step=row.epoch)
            self._last = row.epoch
