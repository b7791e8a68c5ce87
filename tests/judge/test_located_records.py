"""Records found below folders, in the order of time, with a note for each that is left out."""

import errno
import os
from pathlib import Path

import pytest
from judge.dated_runs import latency, record

from kdbench.errors import InputError
from kdbench.judge.located_records import locate_records
from kdbench.workflows.sweeping.existing import PartFolder


def test_records_are_found_to_any_depth_oldest_first_and_named_within_the_folder(tmp_path):
    for path, day in (("b/deep/run", 1), ("a", 2)):
        (tmp_path / path).mkdir(parents=True)
        record(day, latency(1.0)).write(tmp_path / path / "record.json")
    loaded, notes = locate_records([tmp_path])
    assert [entry.run for entry in loaded] == ["b/deep/run", "a"]
    assert notes == []
    (alone,), _ = locate_records([tmp_path / "a" / "record.json"])
    assert alone.run == "a"


def test_what_cannot_be_read_is_left_out_with_a_note_without_paths(tmp_path):
    for name in ("good", "other", "cut", "copy", "timeless"):
        (tmp_path / name).mkdir()
    record(0, latency(1.0)).write(tmp_path / "good" / "record.json")
    record(0, latency(1.0)).write(tmp_path / "copy" / "record.json")
    record(0, latency(1.0)).model_copy(update={"created": "yesterday"}).write(tmp_path / "timeless" / "record.json")
    (tmp_path / "other" / "record.json").write_text('{"schema": 99}')
    (tmp_path / "cut" / "record.json").write_text('{"schema"')
    loaded, notes = locate_records([tmp_path])
    assert len(loaded) == 1
    text = "\n".join(notes)
    assert "good is left out: a copy of copy" in text
    assert "other is left out: record.json has record schema 99" in text
    assert "cut is left out: record.json is not a readable record" in text
    assert "timeless is left out" in text
    assert str(tmp_path) not in text


def test_a_folder_that_cannot_be_read_is_left_out_with_a_note(tmp_path, monkeypatch):
    for name in ("good", "locked"):
        (tmp_path / name).mkdir()
        record(0, latency(1.0)).write(tmp_path / name / "record.json")
    scan = os.scandir

    def scandir(path):
        if Path(path).name == "locked":  # mode 000 would not keep root out
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    loaded, notes = locate_records([tmp_path])
    assert [entry.run for entry in loaded] == ["good"]
    assert notes == ["locked is left out: Permission denied"]


def test_what_was_measured_for_a_comparison_is_no_part_of_a_history(tmp_path):
    for name in ("ci", "compare"):
        (tmp_path / name).mkdir()
        record(0, latency(1.0)).model_copy(update={"name": name}).write(tmp_path / name / "record.json")
    loaded, notes = locate_records([tmp_path])
    assert [entry.run for entry in loaded] == ["ci"]
    assert notes == ["1 record of a comparison left out"]


def test_a_sweep_counts_once_and_not_with_its_parts(tmp_path):
    for day, path in enumerate(("sweep/parts/a", "sweep/parts/b", "sweep")):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        record(day, latency(1.0)).write(tmp_path / path / "record.json")
    for part in "ab":
        PartFolder(tmp_path / "sweep/parts" / part).ids.write_text("{}")
    loaded, notes = locate_records([tmp_path])
    assert ([entry.run for entry in loaded], notes) == (["sweep"], [])
    (part,), _ = locate_records([tmp_path / "sweep/parts/a"])
    assert part.run == "a"
    (tmp_path / "sweep/record.json").unlink()
    with pytest.raises(InputError) as unfinished:
        locate_records([tmp_path])
    assert "a sweep has one once it is finished" in unfinished.value.hint


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(InputError, match="no record below"):
        locate_records([tmp_path])
    with pytest.raises(InputError, match="does not exist"):
        locate_records([tmp_path / "missing"])


def test_times_with_and_without_a_zone_have_an_order(tmp_path):
    for name, created in (("late", "2026-01-01T12:00:00"), ("early", "2026-01-01T12:30:00+02:00")):
        (tmp_path / name).mkdir()
        record(0, latency(1.0)).model_copy(update={"created": created}).write(tmp_path / name / "record.json")
    loaded, _ = locate_records([tmp_path])
    assert [entry.run for entry in loaded] == ["early", "late"]
