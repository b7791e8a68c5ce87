"""A cache of excerpts of records, in a file of the user's cache folder, which may be deleted at any time.

An entry is valid only if it is complete and its record still has the same size and times. If anything is wrong with the
file, the records are read instead.
"""

import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kdbench.files import storage
from kdbench.installation import __version__
from kdbench.judge.excerpts import Excerpt

_FILE = "excerpts-1.sqlite"  # the number changes with the columns
_COLUMNS = "path BLOB PRIMARY KEY, state TEXT, checksum BLOB, content BLOB, used REAL"
_WAIT_S = 1.0  # for another process that writes
_SETTLED_NS = 2_000_000_000  # within the clock's resolution a file may change again and keep its time
_MAX_AGE_S = 90 * 86_400.0
_REFRESH_S = 86_400.0  # the time of the last use is written once a day
_MAX_BYTES = 1 << 28


class ExcerptCache:
    """The excerpts that earlier histories read; empty if the file `path` cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new: list[tuple[bytes, str, bytes, bytes, float]] = []
        self._used: list[bytes] = []
        self._database: sqlite3.Connection | None = None
        with self._disabled_on_error():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_WAIT_S)
            self._database.execute(f"CREATE TABLE IF NOT EXISTS excerpts ({_COLUMNS})")

    def get(self, file: Path, stat: os.stat_result) -> Excerpt | None:
        """Return the excerpt of a record whose state is `stat`; None if it is not known, or the entry is damaged."""
        if self._database is None:
            return None
        key, row = _key(file), None
        with self._disabled_on_error():
            query = "SELECT checksum, content, used FROM excerpts WHERE path = ? AND state = ?"
            row = self._database.execute(query, (key, _state(stat))).fetchone()
        if row is None or not isinstance(row[1], bytes) or row[0] != _checksum(row[1]):
            return None
        try:
            excerpt = Excerpt.model_validate_json(zlib.decompressobj().decompress(row[1], _MAX_BYTES))
        except (ValueError, zlib.error):
            return None
        if not isinstance(row[2], float) or time.time() - row[2] > _REFRESH_S:
            self._used.append(key)
        return excerpt

    def put(self, file: Path, stat: os.stat_result, excerpt: Excerpt) -> None:
        """Keep the excerpt of a record whose state was `stat` before it was read, unless the file changed just now."""
        if self._database is None or time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < _SETTLED_NS:
            return
        content = zlib.compress(excerpt.model_dump_json(exclude_defaults=True).encode(), 1)
        self._new.append((_key(file), _state(stat), _checksum(content), content, time.time()))

    def close(self) -> None:
        """Write new entries, and delete entries that have not been used for a long time."""
        if self._database is None:
            return
        if self._new or self._used:
            now = time.time()
            with self._disabled_on_error(), self._database as transaction:
                transaction.executemany("INSERT OR REPLACE INTO excerpts VALUES (?, ?, ?, ?, ?)", self._new)
                used = [(now, key) for key in self._used]
                transaction.executemany("UPDATE excerpts SET used = ? WHERE path = ?", used)
                transaction.execute("DELETE FROM excerpts WHERE used < ?", (now - _MAX_AGE_S,))
        if self._database is not None:
            self._database.close()

    @contextmanager
    def _disabled_on_error(self) -> Iterator[None]:
        """Stop using the file after an error; delete a damaged one, so that the next history starts a new one."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if self._database is not None:
                self._database.close()
                self._database = None
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                with suppress(OSError):
                    self._path.unlink()


@contextmanager
def excerpt_cache() -> Iterator[ExcerptCache]:
    """Yield the user's cache, and write what was added to it."""
    cache = ExcerptCache(storage.user_cache() / "records" / _FILE)
    try:
        yield cache
    finally:
        cache.close()


def _key(file: Path) -> bytes:
    return os.fsencode(file.absolute())


def _state(stat: os.stat_result) -> str:
    """Return a text that changes with a file's content, and with the version of kdbench."""
    return f"{__version__} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
