"""Locks on files: one owner at a time, until the owner and every child that shares the lock have ended.

They are BSD locks (flock), which belong to the open file and not to the process: a child that inherits the descriptor
keeps the lock after its parent is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""The error numbers of a file system without such locks."""

_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking, in case the path is a pipe
_DEFAULT = 0o666
_TRIES = 5
_PAUSE_S = 0.02

_shared: set[int] = set()


def shared() -> tuple[int, ...]:
    """Return the descriptors of the locks that child processes inherit."""
    return tuple(sorted(_shared))


def acquire(
    path: Path, *, mode: int | None = None, wait: bool = False, share: bool = False, make: bool = True
) -> int | None:
    """Lock the file at `path` and return its descriptor; None if another process holds it and `wait` is False.

    A missing file is created if `make` is True, with permissions `mode` regardless of the umask, or by the umask if
    `mode` is None. An existing file is opened without following links; its content and permissions stay. With `share`,
    processes started by `children` inherit the lock. Raises FileNotFoundError if the file is missing and `make` is
    False, also if its owner has just removed it, and OSError for a file that cannot be opened or locked.
    """
    while True:
        descriptor = _opened(path, mode, make=make)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(descriptor, path):
                break
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the last owner removed the file meanwhile
    if share:
        _shared.add(descriptor)
    return descriptor


def release(descriptor: int) -> None:
    """Release a lock; children that share it keep it until they end."""
    _shared.discard(descriptor)
    os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock at `path` and hold it while the block runs; remove the file afterwards.

    If the file system has no locks, the block runs without one.
    """
    try:
        descriptor = acquire(path, mode=0o666, wait=True)  # the folder may be shared with other users
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        descriptor = None
    try:
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)  # before the release: a waiting process then creates a new file
            release(descriptor)


def lock_folder(path: Path) -> int | None:
    """Lock a folder itself and return its descriptor; None if another process holds the lock. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _opened(path: Path, mode: int | None, *, make: bool) -> int:
    for left in reversed(range(_TRIES)):
        try:
            descriptor = _open_or_make(path, mode, make=make)
            break
        except (FileExistsError, PermissionError):
            # Another process may be creating it: the file then exists but does not have its permissions yet.
            if not left:
                raise
            time.sleep(_PAUSE_S)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    return descriptor


def _open_or_make(path: Path, mode: int | None, *, make: bool) -> int:
    try:
        # Without O_CREAT, which Linux refuses for another user's existing file in a shared folder.
        return os.open(path, os.O_RDWR | _OPEN)
    except FileNotFoundError:
        if not make:
            raise
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, _DEFAULT if mode is None else mode)
        if mode is not None:
            os.fchmod(descriptor, mode)  # this process has just created the file
        return descriptor
    except PermissionError:
        return os.open(path, os.O_RDONLY | _OPEN)  # enough for a lock, except on NFS


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
