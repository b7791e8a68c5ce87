"""Exported programs are checked before torch reads them."""

import json
import zipfile

import pytest
import torch
from torch import nn

from kdbench.errors import InputError
from kdbench.export.programs import load_program


def changed(path, to, change):
    """Copy a program with one of its parts changed by `change(name, content)`."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(to, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, change(name.partition("/")[2], archive.read(name)))
    return to


def test_a_program_that_would_run_code_is_refused(tmp_path):
    free = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(2, 1, 8, 8),), **free), path)
    assert load_program(path).module(check_guards=False)(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    evil = "__import__('os').system('touch sprung')"

    def replaced(part, old, new):
        def change(name, content):
            assert name != part or old in content
            return content.replace(old, new) if name == part else content

        return change

    size = json.loads(zipfile.ZipFile(path).read("m/models/model.json"))["range_constraints"]
    symbol = f"Symbol('{next(iter(size))}', positive=True, integer=True)".encode()
    changes = [
        replaced("models/model.json", symbol, evil.encode()),
        replaced("models/model.json", b"torch.ops.aten.linear.default", b"torch.os.system"),
        replaced("data/weights/model_weights_config.json", b'"use_pickle": false', b'"use_pickle": true'),
        replaced("data/weights/model_weights_config.json", b'"weight_0"', b'"opaque_obj_0"'),
        lambda name, content: b"\x80\x04cos\nsystem\n(S'true'\ntR." if name.endswith("model.pt") else content,
        *(replaced("models/model.json", symbol, power) for power in (b"9**9**9**9", b"Pow(99, Pow(99, 99))")),
    ]
    for number, change in enumerate(changes):
        with pytest.raises(InputError, match="would run or unpickle"):
            load_program(changed(path, tmp_path / f"{number}.pt2", change))


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b""])
def test_a_program_whose_description_is_damaged_is_refused(content, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/models/model.json", content)
    with pytest.raises(InputError, match="not a readable exported program"):
        load_program(tmp_path / "m.pt2")


def test_other_archives_are_no_programs(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt2")
    (tmp_path / "cut.pt2").write_bytes(b"PK\x03\x04")
    for name in ("weights", "cut", "missing"):
        with pytest.raises(InputError):
            load_program(tmp_path / f"{name}.pt2")
