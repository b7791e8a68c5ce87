"""A file in the place of a record: what it is, and the command that reads it."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save as safetensors_bytes

from kdbench.api.results import Results
from kdbench.errors import InputError
from kdbench.modelfile.formats.not_records import require_no_other_kind


def image(kind):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


def arrays():
    stream = io.BytesIO()
    np.savez(stream, x=np.ones(2))
    return stream.getvalue()


def device_result():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("SHA256SUMS", "result.json", "outputs/0.npy"):
            archive.writestr(name, "x")
    return stream.getvalue()


CASES = {
    "a.png": (image("png"), "an image", "kdbench bench MODEL.onnx --data folder:"),
    "a.jpg": (image("jpeg"), "an image", "kdbench bench MODEL.onnx --data folder:"),
    "x.npz": (arrays(), "NumPy arrays", "kdbench bench MODEL.onnx --data npz:"),
    "w.safetensors": (safetensors_bytes({"w": np.ones(2)}), "safetensors", "--torch package.module:factory --weights"),
    "m.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite", "tf2onnx.convert --tflite"),
    "m.ort": (b"\x1c\0\0\0ORTM" + bytes(40), "model for ONNX Runtime", "kdbench bench"),
    "result.zip": (device_result(), "the result of a device", "kdbench merge RUN"),
    "record.json": (b"<!DOCTYPE html><html></html>", "web page", "raw file"),
    "notes.txt": (b"epoch,loss\n", "a text: 'epoch,loss'", "download"),
    "program": (b"\x7fELF\x02\x01\x01" + bytes(60), "a format that kdbench does not know", "a run's folder"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_file_is_and_what_reads_it_are_said(tmp_path, name):
    content, what, hint = CASES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a record") as caught:
        require_no_other_kind(path)
    assert what in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "command", [["show"], ["report"], ["open"], ["ready"], ["merge"], ["bundle"], ["compare", "r"]]
)
def test_each_command_that_takes_a_run_says_it(run_cli, tmp_path, monkeypatch, record, command):
    monkeypatch.chdir(tmp_path)
    record.write(tmp_path / "r")
    (tmp_path / "x.npz").write_bytes(arrays())
    ended = run_cli(*command, "x.npz")
    assert ended.code == 3
    assert "x.npz is an archive of NumPy arrays (.npz), not a record" in ended.err


def test_python_says_it(tmp_path):
    (tmp_path / "x.npz").write_bytes(arrays())
    with pytest.raises(InputError, match="NumPy arrays"):
        Results.read(tmp_path / "x.npz")


def test_a_file_in_a_run_leads_to_the_run(tmp_path, record):
    record.write(tmp_path / "record.json")
    (tmp_path / "samples.npz").write_bytes(arrays())
    with pytest.raises(InputError) as caught:
        require_no_other_kind(tmp_path / "samples.npz")
    assert caught.value.hint == f"name the run that it belongs to: {tmp_path}"


@pytest.mark.parametrize("name", ["record.json", "copied", "old.onnx", "report.md", "missing", "."])
def test_records_and_what_names_them_pass(tmp_path, record, name):
    record.write(tmp_path / "copied")
    (tmp_path / "record.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "copied").read_bytes())
    (tmp_path / "old.onnx").touch()
    (tmp_path / "report.md").write_text("# Report")
    assert require_no_other_kind(tmp_path / name) == tmp_path / name
