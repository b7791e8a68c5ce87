"""MLflow: one MLflow run per model, in an experiment with the study's name."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from kdbench.distill.tracker import TrackedModel, Tracker
from kdbench.distill.trackers import TRACKERS
from kdbench.distill.trackers.client_runs import TrackerRun, known_run, remember_run
from kdbench.files import storage
from kdbench.results.cards import Epoch

_BATCH = 100  # parameters that MLflow accepts at once
_MAX_CHARACTERS = 6000  # of a parameter


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """Logs to the server or store in MLFLOW_TRACKING_URI, or else to `mlflow.db` (SQLite) in the tracker's folder.

    `runs.json` there has the MLflow run of each model, in which an interrupted training continues.
    """

    modules = ("mlflow", "sqlalchemy", "alembic")
    extra = "mlflow"

    def __init__(self, model: TrackedModel) -> None:
        super().__init__(model)
        self._client: Any = None
        self._run = ""
        self._last = 0  # the last epoch that is logged

    def begin(self, curve: Sequence[Epoch]) -> None:
        self._connect()
        known = self._known_run()
        if known is None:
            experiment = self._client.get_experiment_by_name(self.model.study)
            id_ = self._client.create_experiment(self.model.study) if experiment is None else experiment.experiment_id
            self._run = self._client.create_run(id_, run_name=self.model.id).info.run_id
            remember_run(self.model, TrackerRun(self._run))
            self._log_parameters()
        else:
            self._run = known
            self._client.update_run(self._run, status="RUNNING")
        logged = self._client.get_metric_history(self._run, "train_loss")
        self._last = max((metric.step for metric in logged), default=0)
        for row in curve:
            self._log(row)

    def extend(self, curve: Sequence[Epoch]) -> None:
        self._log(curve[-1])

    def results(self, values: Mapping[str, float]) -> None:
        self._log_values(values, 0)

    def close(self, *, complete: bool) -> None:
        if self._run:
            self._client.set_terminated(self._run, "FINISHED" if complete else "KILLED")

    def _log_parameters(self) -> None:
        from mlflow.entities import Param

        items = iter(self.model.parameters.items())
        while part := [Param(key, str(value)[:_MAX_CHARACTERS]) for key, value in islice(items, _BATCH)]:
            self._client.log_batch(self._run, params=part)

    def _log(self, row: Epoch) -> None:
        # A resumed training repeats epochs with the same values, and MLflow would keep both points.
        if row.epoch > self._last:
            self._log_values({name: value for name, value in row.columns.items() if name != "epoch"}, row.epoch)
            self._last = row.epoch

    def _log_values(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def _connect(self) -> None:
        # MLflow sends usage data to its developers unless this is set.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # they announce every table of a new store
            logging.getLogger(name).setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            uri = f"sqlite:///{storage.make_folder(self.model.folder).absolute() / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)

    def _known_run(self) -> str | None:
        """Return the model's MLflow run, if the store has one for this training."""
        from mlflow.exceptions import MlflowException

        known = known_run(self.model)
        if known is None:
            return None
        try:
            run = self._client.get_run(known.id)
        except MlflowException:
            return None  # of another store
        return None if run.info.lifecycle_stage == "deleted" else known.id
