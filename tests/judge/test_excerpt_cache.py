"""Records that were read before are not read again, unless they changed or the cache is not what it was."""

import os
import sqlite3
import time
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from judge.dated_runs import latency, record

from kdbench.files import storage
from kdbench.judge import excerpt_cache as cache_module
from kdbench.judge.excerpts import MAIN, Excerpt
from kdbench.judge.history import history
from kdbench.judge.located_records import LocatedRecord, locate_records
from kdbench.results.records import RunRecord, measured

COUNT = 4


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of records that were written long enough ago."""
    for day in range(COUNT):
        folder = tmp_path / "runs" / f"{day}"
        folder.mkdir(parents=True)
        record(day, latency(1000.0 + day)).write(folder / "record.json")
    later(monkeypatch, 60)
    return tmp_path / "runs"


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the cache find that time has passed."""
    now = time.time
    monkeypatch.setattr(cache_module.time, "time", lambda: now() + seconds)
    monkeypatch.setattr(cache_module.time, "time_ns", lambda: int(1e9 * (now() + seconds)))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The records that are read, in order."""
    files: list[Path] = []
    read = Excerpt.read

    def counted(path, metrics):
        files.append(Path(path))
        return read(path, metrics)

    monkeypatch.setattr(Excerpt, "read", counted)
    return files


def values(runs: Path) -> list[float | None]:
    (series,) = history(locate_records([runs])[0], ["latency_p50_ns"]).series
    return [point.value for point in series.points]


def change(file: Path, value: float) -> None:
    """Replace a number by one of as many digits, and keep the file's time of modification."""
    stat = file.stat()
    text = file.read_text()
    assert text.count(f"{value}") == 1
    file.write_text(text.replace(f"{value}", f"{value + 500}"))
    assert file.stat().st_size == stat.st_size
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def database() -> Path:
    return storage.user_cache() / "records" / cache_module._FILE


def test_each_record_is_read_once_and_again_when_it_changed(runs, reads):
    expected = [1000.0, 1001.0, 1002.0, 1003.0]
    assert values(runs) == expected
    assert len(reads) == COUNT
    assert values(runs) == expected
    assert len(reads) == COUNT
    change(runs / "2" / "record.json", 1002.0)
    assert values(runs) == [1000.0, 1001.0, 1502.0, 1003.0]
    assert reads[COUNT:] == [runs / "2" / "record.json"]


def test_an_excerpt_from_the_cache_is_the_one_that_was_read(runs):
    first, again = locate_records([runs])[0], locate_records([runs])[0]
    assert first == again
    assert [located.record for located in again] == [
        Excerpt.of(RunRecord.read(located.file), MAIN) for located in again
    ]


def test_a_record_that_has_only_just_changed_is_read_again(runs, reads, monkeypatch):
    later(monkeypatch, -60)  # back to now
    assert values(runs) == values(runs)
    assert len(reads) == 2 * COUNT


def damage(sql: str, *values: object) -> None:
    with sqlite3.connect(database()) as connection:
        connection.execute(sql, values)
    connection.close()


def with_content(content: bytes) -> None:
    damage("UPDATE excerpts SET content = ?, checksum = ?", content, sha256(content).digest())


DAMAGES = {
    "no database": lambda: database().write_bytes(b"not a database at all" * 400),
    "empty": lambda: database().write_bytes(b""),
    "another table": lambda: damage("ALTER TABLE excerpts RENAME COLUMN content TO other"),
    "another type": lambda: damage("UPDATE excerpts SET content = 'text'"),
    "a flipped byte": lambda: damage("UPDATE excerpts SET checksum = x'00'"),
    "no archive": lambda: with_content(b"{}"),
    "no excerpt": lambda: with_content(zlib.compress(b"[]")),
    "a part": lambda: with_content(zlib.compress(b'{"kind":"run"}')[:-6]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_cache_changes_nothing(runs, reads, name):
    expected = values(runs)
    DAMAGES[name]()
    assert values(runs) == expected
    assert len(reads) == 2 * COUNT
    values(runs)
    assert values(runs) == expected


def test_a_cache_that_cannot_be_written_changes_nothing(runs, reads):
    storage.user_cache().parent.mkdir(parents=True, exist_ok=True)
    storage.user_cache().write_text("a file where the folder would be")
    assert values(runs) == values(runs)
    assert len(reads) == 2 * COUNT


def test_results_that_are_none_are_read_from_the_record(runs):
    (located, *_) = locate_records([runs])[0]
    wrong = located.record.model_copy(update={"results": {"latency_p50_ns": '[{"metric": 1}]'}})
    requested = LocatedRecord(located.run, located.created, wrong, located.file)
    assert requested.findings("latency_p50_ns") == located.findings("latency_p50_ns")


def test_what_was_not_used_for_long_is_dropped(runs, monkeypatch, tmp_path):
    values(runs)
    other = tmp_path / "other"
    other.mkdir()
    record(9, latency(1.0)).write(other / "record.json")
    later(monkeypatch, 100 * 86_400)
    values(other)
    with sqlite3.connect(database()) as connection:
        (count,) = connection.execute("SELECT count(*) FROM excerpts").fetchone()
    connection.close()
    assert count == 1


def test_metrics_that_an_excerpt_lacks_are_read_and_kept_beside_the_others(runs, reads):
    record(0, latency(1.0), measured("small", "ece", 0.1)).write(runs / "0" / "record.json")
    locate_records([runs])
    assert len(reads) == COUNT
    for metrics in (["ece"], ["ece"], [*MAIN]):
        located = locate_records([runs], metrics)[0]
    assert len(reads) == COUNT + 1  # only one of them has that metric
    assert located[0].findings("ece")[0].value == 0.1
    assert len(reads) == COUNT + 1


def test_a_metric_that_was_not_announced_is_read_from_the_file(runs, reads):
    record(0, latency(1.0), measured("small", "ece", 0.1)).write(runs / "0" / "record.json")
    located = locate_records([runs])[0]
    assert [finding.value for finding in located[0].findings("ece")] == [0.1]
    assert len(reads) == COUNT + 1
