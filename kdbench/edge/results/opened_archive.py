"""Opening an archive that comes from a device: nothing is unpacked, and every byte is determined by its members."""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

from kdbench.edge.device.packing import RESULT
from kdbench.edge.exchange.archive import SUMS, sums_of, write_archive
from kdbench.edge.exchange.plan import MANIFEST
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.files.nearby import expected_at

_COPY_AGAIN = "copy it from the device again"
_LARGEST_BYTES = 2_000_000_000
_LARGEST_RESULT_BYTES = 200_000_000
_MAX_MEMBERS = 20_000
_MEMBERS = re.compile(rf"{SUMS}|{re.escape(RESULT)}|outputs/\d{{1,4}}\.npy|sessions/\d{{1,5}}\.npz")
_SHOWN = 60


def open_result(path: Path) -> dict[str, bytes]:
    """Return the members of a result's archive by name, the list of hashes left out.

    Raises InputError for a file that is none, is damaged, or holds what no result does.
    """
    try:
        storage.require_file(path)
        size = path.stat().st_size
        if path.is_dir() or size > _LARGEST_BYTES:
            what = "a folder" if path.is_dir() else f"{size / 1e9:.1f} GB large"
            raise InputError(f"{path} is {what}, not a result", "name the result.zip that run.py wrote")
        members = _members(path)
    except FileNotFoundError:
        hint = expected_at(path, "name the result.zip that run.py wrote", lambda other: other.suffix == ".zip")
        raise InputError(f"no result at {path}", hint) from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, MemoryError) as error:
        raise InputError(f"{path} is not a readable result: {error}", _COPY_AGAIN) from error
    sums = members.pop(SUMS, b"")
    if sums != sums_of(members):
        raise InputError(f"{path}: its files are not those that {SUMS} lists", _COPY_AGAIN)
    with path.open("rb") as stream:
        same = _ComparingStream(stream)
        write_archive(cast("BinaryIO", same), members)
        if not same.ends():
            raise InputError(f"{path} was changed: it is not what run.py wrote", _COPY_AGAIN)
    return members


def _members(path: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if len(infos) > _MAX_MEMBERS:
            raise InputError(f"{path} holds {len(infos)} files", "name the result.zip that run.py wrote")
        names = {info.filename for info in infos}
        if MANIFEST in names:
            raise InputError(f"{path} is a bundle, not a result", "run it on the device: its result.zip comes back")
        for info in infos:
            shown = info.filename[:_SHOWN]
            if not _MEMBERS.fullmatch(info.filename):
                raise InputError(f"{path} holds {shown!r}, which does not belong in a result", _COPY_AGAIN)
            if info.filename in members:
                raise InputError(f"{path} holds {shown!r} twice", _COPY_AGAIN)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise InputError(f"{path}: {shown!r} is compressed, which run.py does not do", _COPY_AGAIN)
            if info.filename == RESULT and info.file_size > _LARGEST_RESULT_BYTES:
                raise InputError(f"{path}: {RESULT} has {info.file_size:,} bytes", "measure fewer sessions")
            members[info.filename] = archive.read(info)
    if RESULT not in members:
        raise InputError(f"{path} holds no {RESULT}", "name the result.zip that run.py wrote")
    return members


class _ComparingStream(io.RawIOBase):
    """A stream that is written to and compares with another one."""

    def __init__(self, expected: BinaryIO) -> None:
        self._expected, self._same = expected, True

    def write(self, block: bytes) -> int:  # type: ignore[override]
        """Compare the next bytes."""
        self._same = self._same and self._expected.read(len(block)) == block
        return len(block)

    def ends(self) -> bool:
        """Return whether all that was written is the same, and nothing follows."""
        return self._same and not self._expected.read(1)


def text_of(members: Mapping[str, bytes], path: Path) -> str:
    """Return the text of result.json; raises InputError where it is none."""
    try:
        return members[RESULT].decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {RESULT} is not text: {error}", _COPY_AGAIN) from error
