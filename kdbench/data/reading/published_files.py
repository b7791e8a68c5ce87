"""The files of published sets: those that a part needs, and how they are checked, read and downloaded.

IDX files (MNIST, Fashion-MNIST) are plain numbers, and the MD5 of each download is checked. CIFAR's files are pickles:
each is read only if its published MD5 matches, by an unpickler that accepts only arrays.
"""

import gzip
import hashlib
import http.client
import io
import math
import pickle
import struct
import tarfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from kdbench.data.dataset import Images, Labels, Part
from kdbench.files import storage
from kdbench.processes import temporary

_CHUNK = 1 << 20
_MAX_BYTES = 1 << 30  # of a download; the largest is 170 MB
_TIMEOUT_S = 60
_IDX_HEAD = {1: b"\x00\x00\x08\x01", 3: b"\x00\x00\x08\x03"}  # unsigned bytes, by the number of axes
_SIDE, _COLOURS = 32, 3  # of CIFAR's images


class NeededFile(NamedTuple):
    """A file of a part: its path below the root, and its MD5 where one is published for the unpacked file."""

    path: str
    md5: str | None


class Arrays(NamedTuple):
    """The content of a part: images (N, C, H, W) uint8, labels (N,) int64 and the names of the classes."""

    images: Images
    labels: Labels
    class_names: tuple[str, ...]


class PublishedFiles(Protocol):
    """The files of one published set."""

    def needed(self, part: Part) -> Sequence[NeededFile]:
        """Return the files that a part needs."""

    def read(self, root: Path, part: Part) -> Arrays:
        """Return the content of a part; raises OSError, or ValueError for files that do not hold it."""

    def download(self, root: Path, part: Part) -> None:
        """Download the files of a part that are missing or damaged; raises OSError."""


def faults(root: Path, needed: Sequence[NeededFile]) -> str:
    """Describe missing and damaged files; empty if all exist and match their MD5."""
    missing = [path for path, _ in needed if not (root / path).is_file()]
    damaged = [path for path, md5 in needed if path not in missing and not _matches(root / path, md5)]
    problems = (("missing", missing), ("not the published file by its MD5", damaged))
    return "; ".join(f"{what}: {', '.join(paths)}" for what, paths in problems if paths)


@dataclass(frozen=True)
class IdxFiles:
    """Images and labels as IDX files in `folder`; `md5` are those of the packed files, by the unpacked files' names."""

    folder: str
    mirrors: tuple[str, ...]
    md5: Mapping[str, str]
    class_names: tuple[str, ...]

    def needed(self, part: Part) -> list[NeededFile]:  # noqa: D102 - PublishedFiles documents them
        prefix = {"train": "train-", "test": "t10k-"}[part]
        return [NeededFile(f"{self.folder}/{name}", None) for name in self.md5 if name.startswith(prefix)]

    def read(self, root: Path, part: Part) -> Arrays:  # noqa: D102
        by_axes = {3 if "images" in path else 1: root / path for path, _ in self.needed(part)}
        images, labels = read_idx(by_axes[3], 3), read_idx(by_axes[1], 1)
        return Arrays(images[:, None], labels.astype(np.int64), self.class_names)

    def download(self, root: Path, part: Part) -> None:  # noqa: D102
        for path in (root / file.path for file in self.needed(part)):
            if path.is_file():
                continue
            packed, md5 = path.with_name(f"{path.name}.gz"), self.md5[path.name]
            with (
                packed.open("rb")
                if _matches(packed, md5)
                else downloaded([f"{at}{packed.name}" for at in self.mirrors], md5)
            ) as stream:
                content = gzip.GzipFile(fileobj=stream).read(_MAX_BYTES)
            _write(path, content)


@dataclass(frozen=True)
class PickledFiles:
    """CIFAR's pickles in `folder`; every file has its MD5, and all are in one archive."""

    folder: str
    archive: str
    archive_md5: str
    parts: Mapping[Part, Mapping[str, str]]
    meta: tuple[str, str]
    labels: str
    label_names: str

    def needed(self, part: Part) -> list[NeededFile]:  # noqa: D102
        return [NeededFile(f"{self.folder}/{name}", md5) for name, md5 in (*self.parts[part].items(), self.meta)]

    def read(self, root: Path, part: Part) -> Arrays:  # noqa: D102
        *batches, meta = (_unpickled(root / path, md5) for path, md5 in self.needed(part))
        data = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
        labels = np.concatenate([np.asarray(batch[self.labels], np.int64) for batch in batches])
        return Arrays(data.reshape(-1, _COLOURS, _SIDE, _SIDE), labels, tuple(map(str, meta[self.label_names])))

    def download(self, root: Path, part: Part) -> None:  # noqa: D102
        if not faults(root, self.needed(part)):
            return
        here = root / self.archive.rpartition("/")[2]
        with (
            here.open("rb")
            if _matches(here, self.archive_md5)
            else downloaded([self.archive], self.archive_md5) as stream,
            tarfile.open(fileobj=stream, mode="r:gz") as archive,
        ):
            for path, md5 in {file for any_part in self.parts for file in self.needed(any_part)}:
                if not _matches(root / path, md5) and (member := archive.extractfile(path)) is not None:
                    _write(root / path, member.read(_MAX_BYTES))


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file, of that many axes; raises ValueError for another file.

    The format: yann.lecun.com/exdb/mnist, "The IDX file format".
    """
    with path.open("rb") as stream:
        head = stream.read(4 * (1 + axes))
        if not head.startswith(_IDX_HEAD[axes]) or len(head) < 4 * (1 + axes):
            raise ValueError(f"{path.name} is not an IDX file of bytes with {axes} axes")
        shape = struct.unpack(f">{axes}I", head[4:])
        content = np.fromfile(stream, np.uint8)
    if len(content) != math.prod(shape):
        raise ValueError(f"{path.name} declares {math.prod(shape):,} bytes of content and has {len(content):,}")
    return content.reshape(shape)


class ArraysUnpickler(pickle.Unpickler):
    """Reads pickles of plain Python values and numpy arrays; raises UnpicklingError for anything else."""

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its module depends on the version
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return the object of one of three names of numpy; raises UnpicklingError for any other name."""
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is no part of an array") from None


def _unpickled(path: Path, md5: str | None) -> dict[str, Any]:
    content = path.read_bytes() if path.stat().st_size < _MAX_BYTES else b""
    if _md5(content) != md5:
        raise ValueError(f"{path.name} is not the published file by its MD5")
    value = ArraysUnpickler(io.BytesIO(content), encoding="latin1").load()  # Python 2 wrote them
    assert isinstance(value, dict), "a published file"
    return value


def downloaded(urls: Sequence[str], md5: str) -> IO[bytes]:
    """Return the file of this MD5 from the first of `urls` that has it, as an open temporary file; raises OSError."""
    reasons = []
    for url in urls:
        stream, digest = temporary.file(), hashlib.md5(usedforsecurity=False)
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "kdbench"})  # noqa: S310 - published addresses
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                while (chunk := response.read(_CHUNK)) and stream.tell() < _MAX_BYTES:
                    digest.update(chunk)
                    stream.write(chunk)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {error}")
        else:
            if digest.hexdigest() == md5:
                stream.seek(0)
                return stream
            reasons.append(f"{url}: not the published file by its MD5")
        stream.close()
    raise OSError("; ".join(reasons))


def _write(path: Path, content: bytes) -> None:
    storage.make_folder(path.parent)
    with storage.writing(path) as stream:
        stream.write(content)


def _matches(path: Path, md5: str | None) -> bool:
    """Return whether a file exists and, unless `md5` is None, has this MD5."""
    if not path.is_file() or md5 is None:
        return path.is_file()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
