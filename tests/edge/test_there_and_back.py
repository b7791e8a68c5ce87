"""A bundle measured on this machine, by the files that it takes along alone, and merged: the whole way."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from model_files import _build

from kdbench.cli.main import main
from kdbench.edge.device.run import end_as_by_ctrl_c
from kdbench.edge.device.run import main as on_device
from kdbench.errors import DataMissingError, InputError, StorageError
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target
from kdbench.recipe import InputOptions
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import of_device, of_host
from kdbench.workflows.bundle import bundle
from kdbench.workflows.merge import merge, remove


def test_what_the_device_measured_becomes_numbers_of_the_device_and_can_be_taken_out_again(measured, run, result):
    before = (run / "record.json").read_bytes()
    target = load_target(measured / "here.toml")
    assert judge(RunRecord.read(run), target).overall == "INCONCLUSIVE"  # it has no times

    merged = merge(run, result)
    record = RunRecord.read(run)
    assert merged.record == record
    assert [device.name for device in record.devices] == ["here"]
    median = record.find("small", "latency_p50_ns", device="here", threads=1, batch=1)
    assert 0 < median.interval.low < median.value < median.interval.high
    assert record.find("small", "device_max_abs", device="here").value == 0  # the same machine
    assert record.find("small", "peak_memory_bytes", device="here").value > 1_000_000
    assert record.find("small", "energy_j", device="here").reason  # a value, or why there is none
    ratio = record.find_pair("small", "latency_ratio", device="here")
    assert 0 < ratio.interval.low < ratio.value < ratio.interval.high

    view = of_device(record, "here")
    assert view.find("small", "latency_p50_ns", batch=1).value == median.value
    assert view.find("small", "top1") == of_host(record).find("small", "top1")
    verdict = judge(record, target)
    assert verdict.overall == "READY"
    assert verdict.record_hash == record.hash()
    text = (run / "report.md").read_text()
    assert "| `small` |" in text.partition("## Latency on devices")[2].partition("\n## ")[0]

    with pytest.raises(InputError, match="merged already") as caught:
        merge(run, result, name="another")
    assert f"kdbench merge {run} --remove here" in caught.value.hint
    remove(run, "here")
    assert (run / "record.json").read_bytes() == before
    assert not (run / "devices").exists()
    assert merge(run, result).record == record  # repeatable


class Killed(BaseException):
    """The end of a process, which no code handles."""


def _killed_before_its_reports(monkeypatch, work):
    with monkeypatch.context() as patch:
        patch.setattr("kdbench.report.write", _kill)
        with pytest.raises(Killed):
            work()


def _kill(*_, **__):
    raise Killed


def test_the_same_command_ends_an_interrupted_merge_and_an_interrupted_removal(run, result, monkeypatch, capsys):
    without, command = _content(run), ["merge", str(run), str(result)]
    _killed_before_its_reports(monkeypatch, lambda: merge(run, result))
    assert "## Latency on devices" not in (run / "report.md").read_text()
    assert main(command) == 0
    assert "note: this result was merged already; only the reports are written again" in capsys.readouterr().err
    assert "## Latency on devices" in (run / "report.md").read_text()
    ended = _content(run)

    _killed_before_its_reports(monkeypatch, lambda: remove(run, "here"))
    assert (run / "devices/here.zip").exists()
    with pytest.raises(InputError, match="no device's results are merged"):
        remove(run, "there")
    assert main(["merge", str(run), "--remove", "here"]) == 0
    assert _content(run) == without
    assert not (run / "devices").exists()

    merge(run, result)  # never interrupted
    assert _content(run) == ended


def _content(run):
    """Return the content of a run's files, by path."""
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_data_that_the_run_names_by_a_relative_path_is_explained_where_it_is_missing(made_run, tmp_path, monkeypatch):
    moved, target = shutil.copytree(made_run / "run", tmp_path / "run"), made_run / "here.toml"
    record = moved / "record.json"
    record.write_text(record.read_text().replace(f"npz:{made_run / 'set.npz'}", "npz:set.npz"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataMissingError, match=r"set\.npz") as missing:
        bundle(moved, target)
    assert "--data npz:PATH" in missing.value.hint
    with pytest.raises(DataMissingError, match=r"other\.npz") as missing:
        bundle(moved, target, inputs=InputOptions(data="npz:other.npz"))
    assert "--data" not in missing.value.hint


def test_a_file_that_is_missing_or_changed_is_named(made_run, tmp_path):
    run, target = Path(shutil.copytree(made_run / "run", tmp_path / "run")), made_run / "here.toml"
    with pytest.raises(InputError, match=r"no model file at .*/bog\.onnx") as refused:
        bundle(run, target, files=[made_run / "bog.onnx"])
    assert "/big.onnx'?" in refused.value.hint
    big, small = (Path(shutil.copy(made_run / f"{name}.onnx", tmp_path)) for name in ("big", "small"))
    small.write_bytes(small.read_bytes() + b"\0")
    record = run / "record.json"
    record.write_text(record.read_text().replace(str(made_run / "small.onnx"), "elsewhere"))
    with pytest.raises(InputError, match=r"^\S+/small\.onnx is not the file that the record describes"):
        bundle(run, target, files=[big, small])
    with pytest.raises(InputError, match="the file of small is not in") as refused:
        bundle(run, target, files=[big])
    assert f"kdbench bundle {run} small.onnx" in refused.value.hint
    other = _build(tmp_path / "other.onnx", shape=(1, 4, 6), seed=7)
    with pytest.raises(InputError, match=r"/other\.onnx is none of the models of the run: big, small"):
        bundle(made_run / "run", target, files=[other])


def test_where_the_run_cannot_be_written_no_other_place_for_the_bundle_is_advised(made_run, tmp_path):
    run = Path(shutil.copytree(made_run / "run", tmp_path / "run"))
    shutil.rmtree(run / "bundles")
    (run / "bundles").touch()
    for out in (None, tmp_path / "bundle.zip"):
        with pytest.raises(StorageError, match="bundles cannot be written") as caught:
            bundle(run, made_run / "here.toml", out=out)
        assert caught.value.hint == "choose another folder and copy the run there"
    assert not (tmp_path / "bundle.zip").exists()


def test_no_device_is_called_host(run, result):
    """The reports call this machine so: its numbers would stand in the same column."""
    for name in ("host", "a/b"):
        with pytest.raises(InputError) as refused:
            merge(run, result, name=name)
        assert "--name" in refused.value.hint
    assert not (run / "devices").exists()


def test_the_command_says_what_it_did(run, result, capsys):
    assert main(["merge", str(run), str(result), "--name", "pi", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == ["pi"]
    assert main(["merge", str(run), "--remove", "pi"]) == 0
    capsys.readouterr()
    assert main(["merge", str(run), "--remove", "pi"]) == 3
    assert main(["merge", str(run)]) == 3
    assert capsys.readouterr().err.count(f"kdbench merge {run} result.zip") == 2


def test_a_measurement_that_is_complete_is_not_repeated(measured, tmp_path, monkeypatch, capsys):
    again = tmp_path / "again.zip"
    monkeypatch.chdir(tmp_path)
    assert on_device(["--out", str(again)], bundle=measured / "bundle") == 0
    errors = capsys.readouterr().err
    assert "result: again.zip\n" in errors  # from where its user stands
    assert f"kdbench merge {measured / 'run'} again.zip\n" in errors  # the host's run
    first = json.loads((measured / "bundle" / "work" / "plan.json").read_text())
    assert first["bundle"]
    assert again.stat().st_size == (measured / "bundle" / "result.zip").stat().st_size


def test_a_step_that_failed_names_the_option_that_repeats_it(measured, tmp_path, capsys, monkeypatch):
    work = Path(shutil.copytree(measured / "bundle" / "work", tmp_path / "work"))
    options = ["--out", str(tmp_path / "again.zip"), "--work", str(work)]
    assert on_device(options, bundle=measured / "bundle") == 0
    assert "failed, at least" not in capsys.readouterr().err
    step = json.loads((work / "memory.json").read_text())
    step[0]["failed"] = "killed"
    (work / "memory.json").write_text(json.dumps(step))
    assert on_device(options, bundle=measured / "bundle") == 0
    assert "failed, at least in part: memory; with --fresh" in capsys.readouterr().err
    monkeypatch.setattr("kdbench.edge.device.run.end_with_standard_input", lambda: None)  # has ended here
    assert on_device([*options, "--fetched"], bundle=measured / "bundle") == 0
    assert "failed, at least in part: memory\n" in capsys.readouterr().err, "the host has no --fresh"


def test_signals_end_the_measurement_unless_it_runs_under_nohup():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        for nohup, ended in ((signal.SIG_DFL, signal.default_int_handler), (signal.SIG_IGN, signal.SIG_IGN)):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a background job of a script
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, nohup)
            end_as_by_ctrl_c()
            assert signal.getsignal(signal.SIGHUP) == ended
            assert {signal.getsignal(number) for number in numbers[:2]} == {signal.default_int_handler}
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_a_measurement_ends_as_by_ctrl_c_when_the_host_that_waits_for_it_is_gone():
    script = (
        "import time\nfrom kdbench.edge.device.run import end_as_by_ctrl_c\n"
        "try:\n  end_as_by_ctrl_c(with_input=True)\n  time.sleep(20)\n"
        "except KeyboardInterrupt:\n  print('interrupted')\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.communicate(timeout=60)[0] == "interrupted\n"  # closes its input


@pytest.mark.parametrize(
    "file", ["models/0/big.onnx", "run.py", "kdbench/worker/timing.py", "manifest.json", "SHA256SUMS"]
)
def test_a_bundle_that_was_changed_is_not_measured(measured, tmp_path, file, capsys):

    from kdbench.edge.device.run import main as on_device

    bundle = Path(
        shutil.copytree(measured / "bundle", tmp_path / "bundle", ignore=shutil.ignore_patterns("work", "*.zip"))
    )
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    assert on_device([], bundle=bundle) == 3
    assert "error:" in capsys.readouterr().err
    assert not (bundle / "work").exists()
