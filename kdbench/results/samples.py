"""The time of every call as a run keeps it in `samples.npz`: found by the axes that the record tells."""

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from kdbench.errors import InputError
from kdbench.report.subjects import ModelGroup
from kdbench.results.records import Axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples = Mapping[str, "NDArray[Any]"]

UNREADABLE = (OSError, EOFError, ValueError, zlib.error, BadZipFile)
"""What reading an archive of arrays, or one of them, raises where it is damaged."""

_MODES = {"paced": "-paced{gap_ms}ms", "server": "-server{rate_per_s}"}


class Archive(Mapping[str, "NDArray[Any]"]):
    """The arrays of a file, each read when it is asked for, which raises InputError where it is damaged."""

    def __init__(self, path: Path, arrays: Samples) -> None:
        self._path, self._arrays = path, arrays

    def __getitem__(self, key: str) -> "NDArray[Any]":
        try:
            return self._arrays[key]
        except UNREADABLE as error:
            raise unreadable(self._path, error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def unreadable(path: Path, error: Exception) -> InputError:
    """Return what to tell of an archive that cannot be read."""
    return InputError(f"{path} is not a readable archive of samples: {error}", "measure again with --resume")


def configuration_key(axes: Axes) -> str:
    """Return what names the configuration at `axes` among the samples: `cpu-t1-b128`, `cpu-t1-b1-paced10ms`."""
    mode = _MODES.get(str(axes.get("mode", "")), "").format_map(axes)
    runtime = f"-{axes['runtime']}" if "runtime" in axes else ""
    return f"{axes.get('provider')}-t{axes.get('threads')}-b{axes.get('batch')}{mode}{runtime}"


def call_times_ns(samples: Samples, subject: ModelGroup, axes: Axes) -> "NDArray[Any] | None":
    """Return the time of every call of a subject at `axes`, in nanoseconds (int64, 1-D); None if none were kept."""
    keys = (f"{id_}/{configuration_key(axes)}/ns" for id_ in subject.ids)
    found = next((samples[key] for key in keys if key in samples), None)
    return found if found is not None and len(found) else None
