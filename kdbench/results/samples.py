"""The raw samples behind a record: the arrays in `samples.npz`, how they are named, written, read and joined.

`{model}/{configuration}/ns`            int64, the time of each call; a configuration is named like `cpu-t1-b8`
`{model}/{configuration}/session`       int32, the session that each call was in
`{model}/{configuration}/block`         int32, the round within the session
`{model}/{configuration}/preempted`     int32, how often the system took the core away during that block
`floor_ns`                              float64, the median time of a call that computes nothing, one per session
`{model}/{configuration}-energy/calls`  int64, the calls in each energy window
`{model}/{configuration}-energy/{source}-j`, `…-ns`  what a source counted in each window, and for how long
`{model}/correct`                       bool, whether the label was ranked first, for each test image in order
`{model}/squared-error`                 float64, a regression's squared error, for each test sample in order
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import InputError
from kdbench.files import archives, storage

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile
    from numpy.typing import NDArray

    from kdbench.results.records import Axes
    from kdbench.statistics import Clustered

Samples = Mapping[str, "NDArray[Any]"]

FIRST, STEADY = "first-minute", "sustained"
"""Values of the axis `mode`: a sustained load's first minute (at most a fifth of its time), and its last third."""
STEADY_FROM = 2 / 3
"""The share of a sustained load's time after which `STEADY` begins."""

_MODES = {
    "paced": "-paced{gap_ms}ms",
    "server": "-server{rate_per_s}",
    "offline": "-offline",
    STEADY: "-sustained",
    FIRST: "-first-minute",
}


def configuration_key(axes: Axes) -> str:
    """Return the name of the configuration at `axes`: `cpu-t1-b128`, `cpu-t1-b1-paced10ms`, `cpu-t1-b1-torch`."""
    mode = _MODES.get(str(axes.get("mode", "")), "").format_map(axes)
    runtime = f"-{axes['runtime']}" if "runtime" in axes else ""
    return f"{axes.get('provider')}-t{axes.get('threads')}-b{axes.get('batch')}{mode}{runtime}"


def calls_key(model: str, axes: Axes) -> str:
    """Return the prefix of a model's call times at `axes`."""
    return f"{model}/{configuration_key(axes)}"


def energy_key(model: str, axes: Axes) -> str:
    """Return the prefix of a model's energy windows at `axes`."""
    return f"{calls_key(model, axes)}-energy"


def correct_key(model: str) -> str:
    """Return the name of the array of the test images that a model classified correctly."""
    return f"{model}/correct"


def squared_error_key(model: str) -> str:
    """Return the name of the array of a regression's squared errors of the test samples."""
    return f"{model}/squared-error"


def call_arrays(calls: Mapping[str, Clustered]) -> dict[str, NDArray[Any]]:
    """Return the stored arrays of call times by prefix."""
    stored = (
        ("ns", "values", "int64"),
        ("session", "session", "int32"),
        ("block", "block", "int32"),
        ("preempted", "preempted", "int32"),
    )
    return {
        f"{key}/{name}": array.astype(dtype)
        for key, samples in calls.items()
        for name, attribute, dtype in stored
        if (array := getattr(samples, attribute)) is not None
    }


def call_times_ns(samples: Samples, models: Sequence[str], axes: Axes) -> NDArray[Any] | None:
    """Return the call times at `axes` of the first of `models` that has any, in nanoseconds (int64, 1-D), or None."""
    keys = (f"{calls_key(model, axes)}/ns" for model in models)
    times = next((samples[key] for key in keys if key in samples), None)
    return times if times is not None and len(times) else None


def session_calls(arrays: Samples, key: str, session: int) -> Clustered:
    """Return the calls that the latency probe of session number `session` stored under `key`."""
    import numpy as np

    from kdbench.statistics import Clustered

    ns, block, preempted = (arrays[f"{key}/{name}"] for name in ("ns", "block", "preempted"))
    return Clustered(
        ns.astype(np.float64), np.full(len(ns), session), block.astype(np.int64), preempted.astype(np.int64)
    )


def join_sessions(sessions: Sequence[Clustered]) -> Clustered:
    """Return the calls of several sessions as one sample."""
    import numpy as np

    from kdbench.statistics import Clustered

    counted = all(calls.preempted is not None for calls in sessions)
    parts = ((c.values, c.session, c.block, *((c.preempted,) if counted else ())) for c in sessions)
    return Clustered(*map(np.concatenate, zip(*parts)))


def write_samples(path: Path, samples: Samples) -> None:
    """Write arrays to an archive atomically; raises StorageError."""
    import numpy as np

    with storage.writing(path) as stream:
        np.savez_compressed(stream, **samples)  # type: ignore[arg-type]


def read_samples(path: Path) -> Samples:
    """Return the arrays of an archive, read on access; empty if there is no such file.

    Raises InputError for a file that is not an archive of arrays, and on access for a damaged array.
    """
    import numpy as np

    if not path.exists():
        return {}
    try:
        storage.require_file(path)
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it is a single array")  # noqa: TRY004 - reported like a file that numpy cannot read
        with arrays:
            archives.require_unpackable(path)
            return _Archive(path, arrays.files)
    except archives.array_errors() as error:
        raise _unreadable(path, error) from error


class _Archive(Mapping[str, "NDArray[Any]"]):
    """The arrays of a file, read on access; a damaged one, and one that is gone, raises InputError.

    It does not keep the file open, so that it can be copied and pickled, and any number of runs can be read.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path, self._names = path.absolute(), dict.fromkeys(names)

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key not in self._names:
            raise KeyError(key)
        try:
            facts = self._path.stat()
            return _opened(self._path, facts.st_ino, facts.st_mtime_ns, facts.st_size)[key]
        except KeyError as error:  # of another file, which has replaced it
            raise _unreadable(self._path, error) from error
        except archives.array_errors() as error:
            raise _unreadable(self._path, error) from error

    def __contains__(self, key: object) -> bool:
        return key in self._names  # Mapping's own would unpack the array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@lru_cache(maxsize=4)
def _opened(path: Path, *_state: int) -> NpzFile:
    """Return the open archive at `path`; another `_state` is another file. It is closed when nothing refers to it."""
    import numpy as np

    return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a readable archive of samples: {error}", "measure again with --resume")
