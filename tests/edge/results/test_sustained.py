"""Sustained load: measured by a bundle's own files, merged, and its numbers against computations of their own."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kdbench.edge.device.run import main as on_device
from kdbench.edge.device.store import Store, read_lines
from kdbench.edge.device.summary import sustained_lines
from kdbench.edge.results.result import read_result
from kdbench.edge.results.sustained import sustained_findings
from kdbench.errors import InputError
from kdbench.results.findings import Findings
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.worker.probes import sustain
from kdbench.workflows.merge import merge

MODELS = (
    SimpleNamespace(id="teacher", teacher=None, fixed_batch=None),
    SimpleNamespace(id="student", teacher="teacher", fixed_batch=None),
)


def heated(slow_after_s=300.0, length_s=600, failed="") -> SimpleNamespace:
    """Return a result in which both models become 1.5 times as slow, and the teacher takes four times as long."""
    rng = np.random.default_rng(0)
    blocks = []
    for number in range(length_s):
        base = 1e6 * (1.5 if number >= slow_after_s else 1.0) * rng.normal(1, 0.002)
        hot = 85.0 if number >= slow_after_s else 50.0
        for place, ns in enumerate((4 * base, base)):
            blocks.append((number + place / 2, place, 100, ns, ns, ns, hot, None))
    step = SimpleNamespace(seconds=600.0, threads=4, failed=failed, complete=True)
    host = SimpleNamespace(virtualization=None)
    content = SimpleNamespace(steps=SimpleNamespace(sustained=step), blocks=blocks, device=SimpleNamespace(host=host))
    return SimpleNamespace(content=content, settings=SimpleNamespace(provider="cpu", threads=(1, 4)))


def test_the_steady_state_stands_beside_the_first_minute():
    findings = sustained_findings(heated(), MODELS)
    values = {(m.model, m.axes["mode"]): m.value for m in findings.measurements}
    assert values["student", "first-minute"] == pytest.approx(1e6, rel=0.002)
    assert values["student", "sustained"] == pytest.approx(1.5e6, rel=0.002)
    assert values["teacher", "sustained"] == pytest.approx(6e6, rel=0.002)
    assert {m.axes["threads"] for m in findings.measurements} == {4}
    assert [pair.value for pair in findings.pairs] == pytest.approx([4, 4])  # both share the heat
    course = findings.protocol["sustained"]["slices"]
    assert [course[0]["temperature_c"], course[-1]["temperature_c"]] == [50, 85]
    assert "clock_mhz" not in course[0]  # the machine does not show it
    assert not findings.warnings


def test_numbers_of_a_load_that_failed_before_its_end_come_with_the_reason():
    findings = sustained_findings(heated(failed="student: out of memory"), MODELS)
    (warning,) = findings.warnings
    assert (warning.code, warning.message.partition(": ")[2]) == ("sustained_failed", "student: out of memory")
    assert all(measurement.value for measurement in findings.measurements)


def test_calls_that_still_change_at_the_end_are_not_called_steady():
    warnings = sustained_findings(heated(slow_after_s=500), MODELS).warnings
    assert [(w.code, w.model) for w in warnings] == [("not_steady", "teacher"), ("not_steady", "student")]


def test_the_device_says_at_the_end_how_the_first_minute_and_the_last_third_differ(tmp_path):
    """By hand: 600 s, slower from 300 s on; the first phase is its first minute."""
    names = [SimpleNamespace(id=model.id, name=model.id) for model in MODELS]
    store = Store(tmp_path, {"versions": {}})
    m = SimpleNamespace(store=store, timed=names)
    assert list(sustained_lines(m)) == []
    store.write("sustaining", {"seconds": 600.0, "threads": 4, "ids": ["teacher", "student"]})
    blocks = heated().content.blocks
    store.sustained.write_text("".join(f"{json.dumps(block)}\n" for block in blocks) + '[600.0, 0, "torn')
    title, teacher, student, heat = sustained_lines(m)
    assert "9 min 60 s" in title or "10 min 00 s" in title
    assert "first 1 min 00 s" in title
    assert "4 threads" in title
    assert teacher.split()[-1] == student.split()[-1] == "%)"
    assert float(re.search(r"\+([\d.]+) %", student)[1]) == pytest.approx(50, abs=0.5)
    assert heat.strip() == "50 °C → 85 °C"
    store.sustained.write_text("".join(f"{json.dumps(block)}\n" for block in blocks[:9]))
    store.write("sustained", {"failed": "teacher: out of memory"})
    reason, few = sustained_lines(m)
    assert "teacher: out of memory" in reason
    assert "9 blocks" in few


def test_load_lasts_as_long_as_asked_and_every_round_is_kept_at_once(tmp_path, monkeypatch):
    """With a clock of our own: blocks of 0.5 s of two models in turn until 10 s have passed."""
    now = [100.0]

    def called(calls, ns):
        now[0] += 0.5
        ns[:] = 1000

    monkeypatch.setattr(sustain, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sustain, "time_calls", called)
    monkeypatch.setattr(sustain, "_ready", lambda model, job: (None, 5))
    monkeypatch.setattr(sustain, "temperature_c", lambda: 61.5)
    monkeypatch.setattr(sustain, "clock_khz", lambda: None)
    lines, written = tmp_path / "lines", []
    step = lambda done, total: written.append((done, total, len(read_lines(lines))))  # noqa: E731
    models = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    job = SimpleNamespace(models=models, seconds=10.0, lines=str(lines))
    assert sustain.run(job, SimpleNamespace(model=lambda _: None, step=step)) == {"blocks": 20, "errors": {}}
    blocks = read_lines(lines)
    assert [block[0] for block in blocks] == [0.5 * n for n in range(20)]
    assert [block[1] for block in blocks] == [0, 1] * 10
    assert blocks[0][2:] == [5, 1000.0, 1000.0, 1000.0, 61.5, None]
    assert written == [(float(n), 10.0, 2 * n + 2) for n in range(10)]


def test_a_load_without_a_model_has_no_numbers(tmp_path):
    """Where no model returns the host's outputs, none is timed."""
    store, result = Store(tmp_path, {"versions": {}}), heated(length_s=0, failed="no model returns the host's outputs")
    store.write("sustaining", {"seconds": 600.0, "threads": 4, "ids": []})
    store.write("sustained", {"failed": "no model returns the host's outputs"})
    lines = list(sustained_lines(SimpleNamespace(store=store, timed=[])))
    assert lines == ["sustained load: no model returns the host's outputs"]
    assert sustained_findings(result, ()) == Findings()


def test_too_few_blocks_give_a_reason_in_place_of_numbers():
    findings = sustained_findings(heated(length_s=5, failed="out of memory"), MODELS)
    assert {(m.model, m.axes["mode"], m.axes["batch"], m.value, m.reason) for m in findings.measurements} == {
        (model.id, mode, 1, None, "out of memory") for model in MODELS for mode in ("first-minute", "sustained")
    }


def test_a_bundle_sustains_load_after_its_other_steps_and_merges_it(measured, run, tmp_path):
    bundle = Path(shutil.copytree(measured / "bundle", tmp_path / "bundle"))
    file = tmp_path / "sustained.zip"
    assert on_device(["--sustain", "1s", "--out", str(file)], bundle=bundle) == 0
    blocks = np.array([block[:2] for block in read_result(file, RunFolder.of(run)).content.blocks])
    assert set(blocks[:, 1]) == {0, 1}
    assert 0.5 < blocks[-1, 0] < 60

    merge(run, file)
    record = RunRecord.read(run)
    plain = record.find("small", "latency_p50_ns", device="here", threads=1, batch=1)
    assert "mode" not in plain.axes  # sustained load does not stand in for it
    for mode in ("first-minute", "sustained"):
        sustained = record.find("small", "latency_p50_ns", device="here", mode=mode)
        assert sustained.value or "blocks" in sustained.reason  # a busy machine makes few of them in a second
    assert record.devices[0].protocol["sustained"]["asked_s"] == 1

    with zipfile.ZipFile(file) as archive:
        content = json.loads(archive.read("result.json"))
    assert content["steps"]["sustained"]["complete"]
    _forged_blocks_are_refused(file, run, tmp_path)


def test_ctrl_c_during_sustained_load_keeps_its_blocks_and_another_length_begins_anew(measured, run, tmp_path):
    bundle = Path(shutil.copytree(measured / "bundle", tmp_path / "bundle"))
    lines, file = bundle / "work" / "sustained.jsonl", bundle / "result.zip"
    with subprocess.Popen(
        [sys.executable, "run.py", "--sustain", "1min"], cwd=bundle, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and (not lines.exists() or lines.read_bytes().count(b"\n") < 6):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "result so far" in errors
    content = read_result(file, RunFolder.of(run)).content
    assert len(content.blocks) >= 6
    assert (content.complete, content.steps.sustained.complete) == (False, False)
    merge(run, file)
    record = RunRecord.read(run)
    assert not record.devices[0].complete
    assert record.find("small", "latency_p50_ns", device="here", threads=1, batch=1).value > 0
    assert "interrupted" in record.find("small", "latency_p50_ns", device="here", mode="sustained").reason

    assert on_device(["--sustain", "50ms", "--out", str(file)], bundle=bundle) == 0
    again = read_result(file, RunFolder.of(run)).content
    assert (again.complete, again.steps.sustained.seconds) == (True, 0.05)


def _forged_blocks_are_refused(file: Path, run: Path, folder: Path) -> None:
    from kdbench.edge.exchange.archive import SUMS, write_archive

    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != SUMS}
    whole = json.loads(members["result.json"])
    first, second, *others = whole["blocks"]
    forged = {
        "out of turn": [second, first, *others],
        "of another model": [[*first[:1], 7, *first[2:]], second, *others],
        "without an end": [[*first[:3], 1e400, *first[4:]], second, *others],
        "longer than the longest": [[*first[:3], first[5] * 2, *first[4:]], second, *others],
        "negative": [[*first[:3], -1.0, *first[4:]], second, *others],
        "too short": [first[:5], second, *others],
    }
    for blocks in forged.values():
        path = folder / "forged.zip"
        text = json.dumps({**whole, "blocks": blocks})
        with path.open("wb") as stream:
            write_archive(stream, {**members, "result.json": text.encode()})
        with pytest.raises(InputError):
            read_result(path, RunFolder.of(run))
