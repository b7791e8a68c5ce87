"""Sustained load: measured by a bundle's own files, merged, and its numbers against computations of their own."""

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kdbench.edge.device.run import main as on_device
from kdbench.edge.results.result import read_result
from kdbench.edge.results.sustained import sustained_findings
from kdbench.errors import InputError
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
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
    found = {(m.model, m.axes["mode"]): m.value for m in findings.measurements}
    assert found["student", "first-minute"] == pytest.approx(1e6, rel=0.002)
    assert found["student", "sustained"] == pytest.approx(1.5e6, rel=0.002)
    assert found["teacher", "sustained"] == pytest.approx(6e6, rel=0.002)
    assert {m.axes["threads"] for m in findings.measurements} == {4}
    assert [pair.value for pair in findings.pairs] == pytest.approx([4, 4])  # both share the heat
    course = findings.protocol["sustained"]["slices"]
    assert [course[0]["temperature_c"], course[-1]["temperature_c"]] == [50, 85]
    assert "clock_mhz" not in course[0]  # the machine does not show it
    assert not findings.warnings


def test_calls_that_still_change_at_the_end_are_not_called_steady():
    warnings = sustained_findings(heated(slow_after_s=500), MODELS).warnings
    assert [(w.code, w.model) for w in warnings] == [("not_steady", "teacher"), ("not_steady", "student")]


def test_too_few_blocks_give_a_reason_in_place_of_numbers():
    findings = sustained_findings(heated(length_s=5, failed="out of memory"), MODELS)
    assert {(m.model, m.axes["mode"], m.value, m.reason) for m in findings.measurements} == {
        (model.id, mode, None, "out of memory") for model in MODELS for mode in ("first-minute", "sustained")
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


def _forged_blocks_are_refused(file: Path, run: Path, folder: Path) -> None:
    from kdbench.edge.device.archive import SUMS, write_archive

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
