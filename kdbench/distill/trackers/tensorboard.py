"""TensorBoard: event files in the run's folder, one folder per model."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.characters import one_line
from kdbench.distill.tracker import TrackedModel, Tracker
from kdbench.distill.trackers import TRACKERS
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


class EventWriter:
    """Writes one event file to `folder` by TensorBoard's own library, without torch."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def purge(self, step: int) -> None:
        """Make readers drop the values that earlier files have for `step` and later steps."""
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self._add(step, file_version="brain.Event:2")
        self._add(step, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write one point of a scalar."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)]))

    def text(self, name: str, markdown: str) -> None:
        """Write a text as `NAME/text_summary`."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.plugins.text.metadata import create_summary_metadata

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[markdown.encode()], tensor_shape=shape)
        value = Summary.Value(
            tag=f"{name}/text_summary", metadata=create_summary_metadata(display_name="", description=""), tensor=tensor
        )
        self._add(0, summary=Summary(value=[value]))

    def hyperparameters(self, parameters: Mapping[str, str | float | bool], metrics: Mapping[str, float]) -> None:
        """Write a session of an experiment: its hyperparameters, and metrics as scalars at step 0."""
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2

        columns = [summary_v2.HParam(name) for name in parameters]
        shown = [summary_v2.Metric(name) for name in metrics]
        ended = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
        self._add(0, summary=summary_v2.hparams_config_pb(columns, shown))
        self._add(0, summary=summary_v2.hparams_pb(dict(parameters)))
        for name, value in metrics.items():
            self.scalar(name, value, 0)
        data = plugin_data_pb2.HParamsPluginData(session_end_info=ended)
        self._add(0, summary=_plugin_summary(metadata.SESSION_END_INFO_TAG, data))

    def flush(self) -> None:
        """Write what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))


def _plugin_summary(tag: str, data: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import create_summary_metadata

    return Summary(value=[Summary.Value(tag=tag, metadata=create_summary_metadata(data))])
