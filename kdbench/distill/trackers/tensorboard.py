"""TensorBoard: event files in the run's folder, one folder per model."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.characters import one_line
from kdbench.distill.tracker import TrackedModel, Tracker
from kdbench.distill.trackers import TRACKERS
from kdbench.distill.trackers.event_files import EventWriter
from kdbench.files import storage
from kdbench.results.cards import Epoch

_KEY = "key.json"


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Writes the columns of the curve as scalars by epoch, measured values as `final/NAME`, and the hyperparameters.

    Events that an interruption made invalid are purged when the training continues.
    """

    modules = ("tensorboard",)
    extra = "tensorboard"

    def __init__(self, model: TrackedModel) -> None:
        super().__init__(model)
        self._folder = model.folder / model.id
        self._writer: Any = None

    def begin(self, curve: Sequence[Epoch]) -> None:
        marker = self._folder / _KEY
        known = marker.exists() and storage.read_json(marker, "tracker's key") == self.model.key
        if not (known and curve) and self._folder.exists():
            shutil.rmtree(self._folder)
        continued = marker.exists()
        if not continued:
            storage.write_json(storage.make_folder(self._folder) / _KEY, self.model.key)
        self._writer = EventWriter(self._folder)
        if continued:
            self._writer.purge(curve[-1].epoch + 1)
        else:
            # A block of code, because TensorBoard renders Markdown: in a table, a value could be a link or a picture.
            lines = (f"    {one_line(f'{key} = {value}')}" for key, value in self.model.parameters.items())
            self._writer.text("recipe", "\n".join(lines))
            for row in curve:
                self._add(row)
        self._writer.flush()

    def extend(self, curve: Sequence[Epoch]) -> None:
        self._add(curve[-1])
        self._writer.flush()

    def results(self, values: Mapping[str, float]) -> None:
        named = {f"final/{name}": value for name, value in values.items()}
        # In the model's own folder, where the curve is.
        self._writer.hyperparameters(self.model.parameters, named)

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 - an event file has no status
        if self._writer is not None:
            self._writer.close()

    def _add(self, row: Epoch) -> None:
        for name, value in row.columns.items():
            if name != "epoch":
                self._writer.scalar(name, value, row.epoch)
