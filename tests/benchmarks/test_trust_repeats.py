"""Experiments that are killed and continue."""

import json
import os

import pytest

from benchmarks.trust.repeats import kept, repeat
from kdbench.errors import InputError

SETTINGS = {"budget_s": 20.0}


@pytest.fixture(autouse=True)
def _isolated_lock(tmp_path, monkeypatch):
    """Keep clear of whoever measures on this machine."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_what_is_there_is_not_done_again(tmp_path):
    done = []

    def killed_at_the_third(name):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(name)
        return {"ratio": 2.0}

    names = ["a-000", "b-000", "a-001", "b-001"]
    with pytest.raises(KeyboardInterrupt):
        repeat(names, SETTINGS, tmp_path / "kept", killed_at_the_third)
    assert done == names[:2]

    rest = []
    values = repeat(names, SETTINGS, tmp_path / "kept", lambda name: rest.append(name) or {"ratio": 3.0})
    assert rest == names[2:]
    assert {value["repeat"]: value["ratio"] for value in values} == {"a-000": 2, "b-000": 2, "a-001": 3, "b-001": 3}


def test_each_repeat_says_what_the_machine_did(tmp_path):
    (values,) = repeat(["a-000"], SETTINGS, tmp_path / "kept", lambda _: {})
    assert set(values["machine"]) == {"seconds", "others_cores", "stolen_cores", "preemptions_per_s"}
    assert 0 <= values["machine"]["others_cores"] <= os.cpu_count()
    assert json.loads((tmp_path / "kept/repeat-a-000.json").read_text()) == values


def test_time_to_go_is_told(tmp_path, capsys):
    repeat(["a-000", "a-001"], SETTINGS, tmp_path / "kept", lambda _: {})
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("a-000: 1 of 2")
    assert first.endswith("to go")
    assert last.startswith("a-001: 2 of 2")


def test_other_settings_are_refused(tmp_path):
    repeat(["a-000"], SETTINGS, tmp_path / "kept", lambda _: {})
    with pytest.raises(InputError, match="other settings"):
        repeat(["a-000", "a-001"], {"budget_s": 5.0}, tmp_path / "kept", lambda _: {})
    assert len(kept(tmp_path / "kept")) == 1
