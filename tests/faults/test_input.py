"""Impossible options and damaged files: exit 3 before anything is expanded, loaded or unpacked."""

import io
import random
import tokenize
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.faults.blocks import input as campaign
from benchmarks.faults.blocks import options
from benchmarks.faults.commands import RECIPE
from benchmarks.faults.material import mutations
from benchmarks.faults.material.models import endless, linear
from kdbench.cli.main import main
from kdbench.data import load
from kdbench.distill.teaching.stored_logits import load_logits
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.export.weight_files import read_tables
from kdbench.files import archives, storage
from kdbench.machine import memory
from kdbench.results.samples import read_samples
from kdbench.worker import timeouts

TEN = ",".join(map(str, range(1, 11)))
SWEEP = ", ".join(f'"axis{place}" = [{TEN}]' for place in range(12))
NESTED = "[" * 500 + "]" * 500


@pytest.mark.parametrize(
    "override",
    [
        f"student.0.sweep={{{SWEEP}}}",
        f"seeds=[{','.join(map(str, range(1500)))}]",
        "training.epochs=1000000000000000000",
        "training.threads=1000000000000000000",
        "measure.threads=1000000000000000000",
        f"training.epochs={'9' * 5000}",
        f"title={NESTED}",
        "training.optimizer.lr=nan",
        "student.\u00b3.training.epochs=1",
        "title=\udcff",
        'title="a\\u0000b"',
        "teacher.0.model.rate=inf",
        "title=2020-01-01",
        f"{'a.' * 3000}b=1",
        "data.split_seed=-1",
    ],
    ids=range(15),
)
def test_an_impossible_recipe_is_refused_at_once(override: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "digits", "--set", override]) == 3
    assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def trained(tmp_path):
    """Return a network and the folder of its complete training."""
    network = nn.Linear(2, 3)
    fit.adopt(network, tmp_path / "m", "key", seed=0)
    return network, tmp_path / "m"


def test_weights_are_those_that_the_training_wrote(trained) -> None:
    network, folder = trained
    fit.load_weights(network, folder)
    content = bytearray((folder / fit.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / fit.WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match="changed or is damaged"):
        fit.load_weights(network, folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04K\x01.", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", (1 << 62).to_bytes(8, "little") + b"{}"],
    ids=["empty", "pickle", "noise", "no tensors", "huge header"],
)
def test_damaged_weights_of_an_earlier_version_are_refused(content: bytes, trained) -> None:
    network, folder = trained
    summary = storage.read_json(folder / fit.SUMMARY, "summary")
    storage.write_json(folder / fit.SUMMARY, {key: summary[key] for key in ("key", "training")})
    (folder / fit.WEIGHTS).write_bytes(content)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match="does not hold the weights"):
        fit.load_weights(network, folder)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_an_archive_that_would_fill_the_memory_is_refused_by_its_declared_size(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(1_000_000, np.uint8))
    archives.require_unpackable(path)
    monkeypatch.setattr(archives, "_SMALL_BYTES", 100_000)
    with pytest.raises(InputError, match="declares 1,000,"):
        archives.require_unpackable(path)
    archives.require_unpackable(path, {"other.npy"})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", bytes(1_000_000))
    archives.require_unpackable(path)  # stored as it is


def test_a_header_that_never_ends_is_no_array(tmp_path) -> None:
    content = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,L"  # numpy looks for the end of the bracket
    array = b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_test", "y_test", "logits", "samples"):
            archive.writestr(f"{name}.npy", array)
    with pytest.raises(tokenize.TokenError):
        np.load(path)["x_test"]
    with pytest.raises(InputError, match=r"not a readable \.npz archive"):
        load(f"npz:{path}")
    with pytest.raises(InputError, match="not a readable archive of samples"):
        read_samples(path)["x_test"]
    with pytest.raises(InputError, match="not a readable NumPy array"):
        load_logits(path, np.arange(2), 2)


@pytest.mark.parametrize("kind", ["record", "target", "model"])
def test_a_small_part_of_the_campaign(kind, tmp_path, monkeypatch, capsys) -> None:
    for number in range(6):
        place = tmp_path / str(number)
        place.mkdir()
        monkeypatch.chdir(place)
        command = campaign.KINDS[kind](random.Random(number), place)
        if kind == "model":
            command = ("macs", "model.onnx")  # the others measure
        code = main([str(word) for word in command])
        errors = capsys.readouterr().err
        assert code in {0, 1, 2, 3}, errors
        assert code != 3 or "error: " in errors


def test_a_device_is_no_text_file(tmp_path) -> None:
    assert main(["ready", "/dev/zero", "--target", "server-cpu"]) == 3
    assert main(["run", "/dev/zero"]) == 3
    with pytest.raises(OSError, match="not a file"):
        storage.read_text(Path("/dev/zero"))
    (tmp_path / "large.json").touch()
    with (tmp_path / "large.json").open("r+b") as stream:
        stream.truncate(1 << 43)  # takes no space
    with pytest.raises(InputError, match="8,796,093,022,208 bytes"):
        storage.read_json(tmp_path / "large.json", "file")


def test_a_model_that_never_answers_is_refused_wherever_this_process_would_run_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timeouts, "_MIN_S", 0.3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(endless())
    assert main(["compress", "m.onnx", "--method", "fp16", "--out", "out"]) == 3
    assert "did not answer" in capsys.readouterr().err
    (tmp_path / "r.toml").write_text(RECIPE.replace('model = { name = "dense", hidden = [16] }', 'weights = "m.onnx"'))
    assert main(["train", "r.toml", "--out", "run"]) == 3
    assert "did not answer" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "1e400", "9" * 5000])
def test_no_number_of_a_recipe_may_be_infinite(value, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    for arguments in random.Random(value).sample([*options.keys()], 8):
        assert main([word.replace("{}", value) for word in arguments]) == 3, arguments
        assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "9" * 5000, ""])
def test_no_option_of_inputs_and_measuring_takes_what_is_no_number(value, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(linear().SerializeToString())
    numbers = ("scale", "fill", "crop-pct", "input-scale", "size", "resize", "threads", "batch", "budget", "sessions")
    for option in numbers:
        assert main(["bench", "m.onnx", "--no-accuracy", f"--{option}={value}"]) == 3, option
        assert "error: " in capsys.readouterr().err
    assert {f"--{name}={{}}" for name in numbers} <= {words[2] for words in options.options() if words[0] == "bench"}


@pytest.mark.parametrize("kind", ["data", "logits", "table", "weights", "safetensors"])
def test_archives_that_do_not_fit_into_the_memory_are_refused_by_what_they_declare(tmp_path, monkeypatch, kind):
    path = tmp_path / "archive.npz"
    if kind == "weights":
        torch.save({"w": torch.zeros(1_000_000)}, path)
        read = partial(read_tables, path.rename(path.with_suffix(".pth")))
    elif kind == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file({"w": torch.zeros(1_000_000)}, path)
        read = partial(read_tables, path)
    elif kind == "table":
        path = path.with_suffix(".npy")
        np.save(path, np.zeros((100_000, 10), np.float32))
        read = partial(load_logits, path, np.arange(100_000), 10, all_samples=np.arange(100_000))
    elif kind == "logits":
        np.savez(path, logits=np.zeros((100_000, 10), np.float32), samples=np.arange(100_000))
        read = partial(load_logits, path, np.arange(100_000), 10)
    else:
        np.savez(path, x_test=np.zeros((2000, 32, 32), np.uint8), y_test=np.zeros(2000, int))
        read = partial(load, f"npz:{path}", parts=("test",))
    monkeypatch.setattr(memory, "available_bytes", lambda: 7_000_000)
    with pytest.raises(InputError, match=r"would take 0\.0 GB of memory, more than half of the 0\.0 GB available"):
        read()
    monkeypatch.undo()
    read()


def test_weights_whose_table_of_contents_is_damaged_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(3)}, path)
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"XXXX"))
    with pytest.raises(InputError, match="not a state dict that torch can read"):
        read_tables(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_pickle_of_weights_is_refused_wherever_torch_fails(zipped, tmp_path):
    path, dice = tmp_path / "w.pth", random.Random(3)
    torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):
        content = mutations.damaged(whole, dice)
        if zipped:
            with zipfile.ZipFile(io.BytesIO(whole)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            members["w/data.pkl"] = mutations.damaged(members["w/data.pkl"], dice)
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as archive:
                for name, member in members.items():
                    archive.writestr(name, member)
            content = stream.getvalue()
        path.write_bytes(content)
        try:
            read_tables(path)
        except InputError:
            refused += 1
    assert refused > 30
