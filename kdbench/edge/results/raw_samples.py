"""Raw samples in a device's result: arrays whose shapes, types and values are checked."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError
from kdbench.files import archives

_ARRAYS = ("ns", "block", "preempted")
_MAX_NS = 10**13  # of one call: hours
_MAX_BYTES = 500_000_000  # of a session's samples


class ResultChecker:
    """Raises InputErrors about a result."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def require(self, holds: bool, what: str) -> None:
        """Raise the error unless something holds."""
        if not holds:
            raise InputError(f"{self._path} {what}", "measure the bundle again, and merge what run.py wrote")


def array_of(content: bytes, name: str, wrong: ResultChecker) -> NDArray[Any]:
    """Return the array of a .npy file whose header declares as much as the file holds."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(stream)
        declared = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
        wrong.require(not dtype.hasobject and declared == len(content) - stream.tell(), f"has a damaged {name}")
        stream.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except archives.array_errors():
        wrong.require(holds=False, what=f"has a damaged {name}")
        raise AssertionError from None
    return array


def check_samples(content: bytes, calls: set[str], session: int, wrong: ResultChecker) -> None:
    """Check the samples of a session, the `content` of its .npz: those of `calls` (configuration/model), no others."""
    name = f"sessions/{session}.npz"
    names = {f"{key}/{array}.npy" for key in calls for array in _ARRAYS}
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            wrong.require(len(infos) == len(names) == len({i.filename for i in infos}), f"has a damaged {name}")
            wrong.require({info.filename for info in infos} == names, f"has other samples in {name}")
            wrong.require(sum(i.file_size for i in infos) <= _MAX_BYTES, f"has too many samples in {name}")
            for info in infos:
                arrays[info.filename.removesuffix(".npy")] = array_of(archive.read(info), name, wrong)
    except archives.array_errors():
        wrong.require(holds=False, what=f"has a damaged {name}")
    for key in calls:
        ns, block, preempted = (arrays[f"{key}/{array}"] for array in _ARRAYS)
        wrong.require(_are_calls(ns, block, preempted), f"has impossible samples in {name}")


def _are_calls(ns: NDArray[Any], block: NDArray[Any], preempted: NDArray[Any]) -> bool:
    """Return whether arrays are calls in rounds: blocks of equal length in order, each with one count."""
    arrays = (ns, block, preempted)
    if not all(array.ndim == 1 and array.dtype.kind == "i" and len(array) == len(ns) for array in arrays) or not len(
        ns
    ):
        return False
    rounds = int(block[-1]) + 1
    if not 0 < rounds <= len(ns) or len(ns) % rounds:
        return False
    length = len(ns) // rounds
    in_order = bool((block == np.repeat(np.arange(rounds), length)).all())
    counts = preempted.reshape(rounds, length)
    return (
        in_order
        and bool((ns > 0).all() and (ns < _MAX_NS).all())
        and bool((counts >= 0).all() and (counts == counts[:, :1]).all())
    )
