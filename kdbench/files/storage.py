"""Atomic files: written under a temporary name, flushed and renamed, so that they are complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

from kdbench.characters import escaped
from kdbench.errors import InputError, KdbenchError, StorageError
from kdbench.files.plain_json import plain_json
from kdbench.processes import temporary
from kdbench.processes.machine_memory import machine_memory_bytes

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is exhausted"}
_TOO_LARGE = "the file size limit is reached (ulimit -f)"
_FAILED = {*_FULL, errno.EFBIG, errno.EIO, errno.EROFS}
_FULL_TEXTS = (os.strerror(errno.ENOSPC), "disk is full")  # the second is SQLite's
_MAX_CHAIN = 20
_PROBE = bytes(1 << 16)

_DAMAGED = "it may be truncated, or written by another tool"
_BLOCK = 1 << 20
_MAX_TEXT = 1 << 29  # bytes that are read on any machine
_SHARE_OF_MEMORY = 16  # the values of a text need several times its size, so a larger share may not fit
_PIECE = 1 << 14  # tokens of JSON that are in memory at a time
_DESCRIPTORS = {Path("/dev/fd"), Path("/proc/self/fd")}  # the folders of a process's open files


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the StorageError, with a remedy, for an error of the operating system about `path`."""
    if error.errno in _FULL:
        message = f"{_FULL[error.errno]}: {path} was not written"
        return StorageError(
            message, "free some space, then run the same command again (with --resume, if it has that option)"
        )
    if error.errno == errno.EFBIG:
        hint = "raise the limit with ulimit -f, or choose a disk that takes larger files"
        return StorageError(f"{_TOO_LARGE}: {path} was not written", hint)
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return StorageError(f"{path} cannot be opened: too many files are open", "raise the limit with ulimit -n")
    denied = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
    hint = f"choose {'a folder you may write to' if denied else 'another folder'} with --out"
    return StorageError(f"{path} cannot be written: {error.strerror or error}", hint)


def disk_error(error: BaseException) -> OSError | None:
    """Return the error of a full disk that caused a library's error, None if another error did.

    The causes of the error and their texts are searched.
    """
    link: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if link is None:
            return None
        if isinstance(link, OSError) and link.errno in {*_FULL, errno.EFBIG}:
            return link
        if not isinstance(link, KdbenchError) and any(text in str(link) for text in _FULL_TEXTS):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link = link.__cause__ or link.__context__
    return None


@contextmanager
def advising(instead: str) -> Iterator[None]:
    """Write `instead` for `with --out` in the hint of an error, where that option does not choose the folder."""
    try:
        yield
    except KdbenchError as error:
        error.advise(error.hint.replace("with --out", instead).rstrip())
        raise


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise StorageError, with the path and a remedy, if the block cannot write below `path`."""
    try:
        yield
    except KdbenchError:
        raise
    except Exception as error:
        reason = error if isinstance(error, OSError) else disk_error(error)
        if reason is None:
            raise
        raise storage_error(reason, Path(reason.filename2 or reason.filename or path)) from error


def with_home(path: str | Path) -> Path:
    """Return a path with a leading `~` or `~user` replaced by the home folder.

    If there is no such user or home folder, the path stays as it is: a file may be called `~old.npz`.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises RuntimeError there


def shared_cache() -> Path | None:
    """Return the folder that KDBENCH_CACHE names, for data that runs share; it may not exist."""
    named = os.environ.get("KDBENCH_CACHE")
    return with_home(named) if named else None


def user_cache() -> Path:
    """Return the folder for data that can be computed again: `shared_cache`, or the user's cache folder.

    It may not exist. Raises StorageError for a user without a home folder, as in a container with any user's number.
    """
    from platformdirs import user_cache_path

    if (shared := shared_cache()) is not None:
        return shared
    with suppress(RuntimeError):
        path = user_cache_path("kdbench", appauthor=False)
        if path.is_absolute():  # older releases return `~/.cache/kdbench` where there is no home folder
            return path
    raise StorageError("there is no home folder to cache files in", "set HOME or KDBENCH_CACHE to a folder")


def make_folder(path: Path) -> Path:
    """Create `path` and its parents; raises StorageError if that fails or the folder is not writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise storage_error(error, path) from error
    return path


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` when the block ends without an error.

    For writers that need a file name. A killed process leaves either the old file or the new one. With `flush`, which
    writes the file to the disk before renaming, this holds after a power failure too. Raises StorageError if the file
    cannot be written, also in place of a library's own error.
    """
    try:
        with temporary.part_of(path) as part:
            try:
                yield part
            except KdbenchError:
                raise
            except Exception as error:  # numpy's OSError has no errno, and other libraries raise errors of their own
                if getattr(error, "errno", None) is None and (reason := _cannot_grow(part)) is not None:
                    raise storage_error(reason, path) from error
                raise
            if flush:
                with part.open("rb") as written:
                    os.fsync(written.fileno())
            part.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error


def _cannot_grow(path: Path) -> OSError | None:
    """Return the error of appending to a file that a library did not finish; None if appending works."""
    try:
        with path.open("ab", buffering=0) as stream:
            stream.write(_PROBE)
            os.fsync(stream.fileno())
    except OSError as error:
        return error if error.errno in _FAILED else None
    return None


@contextmanager
def writing(path: Path, *, flush: bool = True) -> Iterator[IO[bytes]]:
    """Yield a binary stream whose content becomes `path` when the block ends without an error, as `replacing` does.

    A device or a pipe, such as /dev/null, is not replaced but written to.
    """
    if is_stream(path):
        try:
            with path.open("wb") as stream:
                yield stream
        except OSError as error:
            raise storage_error(error, path) from error
        return
    with replacing(path, flush=flush) as temporary, temporary.open("wb") as stream:
        yield stream


def is_stream(path: Path) -> bool:
    """Return whether `path` is a device, a pipe, or an open file of this process, such as /dev/stdout."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    special = not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)
    return special or path.parent in _DESCRIPTORS or (path.is_symlink() and path.readlink().parent in _DESCRIPTORS)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with writing(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path` atomically, as `json_text` has it, piece by piece: it may be large."""
    with writing(path) as stream:
        for piece in _pieces(value):
            stream.write(piece.encode())
        stream.write(b"\n")


def json_text(value: Any) -> str:
    """Return `value` as indented JSON, with unsafe characters as escapes; raises ValueError for NaN and infinities."""
    return "".join(_pieces(value))


def _pieces(value: Any) -> Iterator[str]:
    """Yield the JSON of a value in pieces that split no string or number."""
    tokens = json.JSONEncoder(indent=2, ensure_ascii=False, allow_nan=False).iterencode(value)
    while piece := "".join(islice(tokens, _PIECE)):
        yield escaped(piece)


def read_text(path: Path) -> str:
    """Return the text of a file that a person or a tool wrote; raises OSError, UnicodeDecodeError.

    It refuses a device or a named pipe, because reading it may never end, but reads a pipe of the shell, `<(…)`. The
    byte order mark with which editors on Windows begin a file is not part of the text.
    """
    require_text(path)
    return path.read_text(encoding="utf-8-sig")


def require_text(path: Path) -> None:
    """Raise OSError for what `require_file` refuses, and for a file that is too large to be read whole."""
    require_file(path)
    size, limit = path.stat().st_size, _largest_text()
    if size > limit:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes; at most {limit:,} are read on this machine", str(path))


def _largest_text() -> int:
    """Return how many bytes of text are read at most: 512 MiB, or 1/16 of the machine's memory if that is more."""
    return max(_MAX_TEXT, (machine_memory_bytes() or 0) // _SHARE_OF_MEMORY)


def followed(path: Path) -> Path:
    """Return a path with its links resolved, absolute; a loop of links, for which `Path.resolve` raises, stays."""
    return Path(os.path.realpath(path))


def require_file(path: Path) -> None:
    """Raise OSError for a device or a pipe, which may have no end, and for a missing file; folders are admitted."""
    kind = path.stat()
    if not stat.S_ISREG(kind.st_mode) and not stat.S_ISDIR(kind.st_mode) and path.parent not in _DESCRIPTORS:
        raise OSError(errno.EINVAL, "it is not a file", str(path))


def read_json(path: Path, what: str) -> Any:
    """Return the content of a JSON file; raises InputError, calling the file `what`, if it is missing or not JSON."""
    try:
        return plain_json(read_text(path))
    except FileNotFoundError:
        raise InputError(f"no {what} at {path}", "check the path") from None
    except RecursionError:
        raise InputError(f"{path} is not a readable {what}: it is nested too deeply", _DAMAGED) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable {what}: {error}", _DAMAGED) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def content_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form: equal content, equal hash."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Return a JSON value as text that is the same for equal content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
