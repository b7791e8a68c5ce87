"""What `kdbench bundle` asks for before it packs anything; the whole way is in tests/edge."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.cli.commands.bundle import _show
from kdbench.edge.bundles.checks import bundled_targets
from kdbench.edge.bundles.stored_bundles import keep_bundle
from kdbench.errors import StorageError
from kdbench.files.claim import claimed
from kdbench.judge.target import load_target, shipped_targets
from kdbench.results.run_folder import RunFolder


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "record.json").write_text("{}")
    return "first"


def test_without_a_target_those_that_run_bundles_are_named(run_cli, run):
    ended = run_cli("bundle", run)
    assert ended.code == 3
    named = {name for name in shipped_targets() if name in ended.err}
    runtimes = {name: load_target(name).device.runtime for name in shipped_targets()}
    assert named == {name for name, runtime in runtimes.items() if runtime in (None, "onnxruntime")}
    assert "raspberry-pi-5" in named
    assert named == set(bundled_targets())


def test_the_way_back_names_the_run_as_it_was_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = Path("my runs", "first")
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")
    (folder / "pi 5.zip").write_bytes(b"bundle")
    packed = SimpleNamespace(id="0", plan=SimpleNamespace(models=(), samples=3))
    for run in (folder, folder / "record.json"):
        _show(SimpleNamespace(file=folder / "pi 5.zip", bundle=packed, cautions=()), run, json=False)
        *_, there, _, here = capsys.readouterr().out.splitlines()
        unpack, measure = map(shlex.split, there.split("&&"))
        assert (unpack[-2:], measure) == (["pi 5.zip", "bundle"], ["python3", "bundle/run.py"])
        assert shlex.split(here) == ["kdbench", "merge", "my runs/first", "result.zip"]


def test_where_the_run_cannot_be_written_it_is_the_run_that_moves(run_cli, run):
    advice = "choose another folder and copy the run there"  # --out does not choose the folder
    with claimed(Path(run)):
        ended = run_cli("merge", run, "result.zip")
    assert f"hint: wait until it is done, or {advice}\n" in ended.err
    Path(run, ".in-use").mkdir()
    ended = run_cli("merge", run, "result.zip")
    assert ended.code == 3
    assert f"hint: {advice}\n" in ended.err
    Path(run, "bundles").touch()
    with pytest.raises(StorageError) as caught:
        keep_bundle(SimpleNamespace(), RunFolder(Path(run)))
    assert caught.value.hint == advice


def test_a_run_that_is_not_there_is_refused_before_a_target_is_asked_for(run_cli, run):
    for command in ("bundle", "ready"):
        ended = run_cli(command, "frist")
        assert ended.code == 3
        assert "no record at frist" in ended.err
        assert "'first'" in ended.err
