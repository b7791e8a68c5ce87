"""The folder of a device's results so far: a fresh start removes these, and no other file."""

import pytest

from kdbench.edge.device.measuring import STEPS
from kdbench.edge.device.run import main as on_device
from kdbench.edge.device.store import Store, forget
from kdbench.errors import StorageError


def test_a_fresh_start_leaves_files_of_others(tmp_path):
    (tmp_path / "package.json").write_text("{}")
    forget(tmp_path, STEPS)  # no store
    store = Store(tmp_path, {"bundle": "b"})
    for step in (*STEPS, "device", "sustaining", "sustained"):
        store.write(step, {})
    mine = [tmp_path / name for name in ("package.json", "outputs/mine.npy", "sessions/notes.json")]
    for file in (*mine, store.outputs(0), tmp_path / "sessions" / "0.json", store.sustained):
        file.write_text("{}")
    forget(tmp_path, STEPS)
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == sorted(mine)


def test_results_that_cannot_be_kept_need_another_folder(tmp_path):
    (tmp_path / "work").touch()
    with pytest.raises(StorageError) as caught:
        Store(tmp_path / "work", {})
    assert caught.value.hint == "choose another folder with --work"


@pytest.mark.parametrize("work", [".", "../bundle"])
def test_results_are_kept_in_a_folder_of_their_own(tmp_path, monkeypatch, capsys, work):
    """In the bundle's own, the outputs of the device would replace those of the host that they are compared with."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "SHA256SUMS").write_text("")
    monkeypatch.chdir(bundle)
    assert on_device(["--work", work], bundle=bundle) == 3
    assert "hint: name another folder, such as --work work" in capsys.readouterr().err
