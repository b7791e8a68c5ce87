"""Files of other kinds are recognised by their content: what they are is said, and the way to ONNX."""

import ast
import bz2
import gzip
import io
import json
import lzma
import pickle
import shlex
import shutil
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save as safetensors_bytes

from kdbench.errors import InputError
from kdbench.measure.forms import TFLITE
from kdbench.modelfile.facts import read_facts


def saved(write):
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def zipped(**files):
    def write(stream):
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in files.items():
                archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)

    return saved(write)


def tarred(stream):
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("m.onnx")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))


def message(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345678\n"
STATE = {"w": torch.ones(2)}
NODE = message(1, message(1, b"input") + message(2, b"Placeholder"))


class Doubled(torch.nn.Module):
    def forward(self, x):
        return 2 * x


def exported(stream):
    torch.export.save(torch.export.export(Doubled(), (torch.ones(1, 4),)), stream)


CASES = {
    "tflite": (lambda: struct.pack("<I", 28) + b"TFL3" + bytes(40), "TensorFlow Lite", "tf2onnx.convert --tflite"),
    "h5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5", "input_signature=model.inputs"),
    "keras": (lambda: zipped(config_DOT_json="{}", model_DOT_weights_DOT_h5="x"), "Keras", "format='onnx'"),
    "pb": (lambda: NODE * 3, "frozen TensorFlow graph", "--graphdef"),
    "saved_model.pb": (lambda: b"\x08\x01" + message(2, message(1, b"meta")), "SavedModel", "--saved-model"),
    "caffemodel": (lambda: message(1, b"LeNet") + message(2, b"\x22\x04conv"), "Caffe", "caffe2onnx"),
    "pth": (lambda: saved(lambda s: torch.save(STATE, s)), "checkpoint of PyTorch", "torch.onnx.export"),
    "th": (
        lambda: saved(lambda s: torch.save(STATE, s, _use_new_zipfile_serialization=False)),
        "checkpoint of PyTorch",
        "torch.onnx.export",
    ),
    "pt": (lambda: saved(lambda s: torch.jit.save(torch.jit.script(Doubled()), s)), "TorchScript", "torch.jit.load"),
    "pt2": (lambda: saved(exported), "exported program", "torch.export.load"),
    "safetensors": (lambda: safetensors_bytes({"w": np.ones(2)}), "safetensors", "torch.onnx.export"),
    "pkl": (lambda: pickle.dumps({"a": 1}), "pickle", "skl2onnx"),
    "xml": (lambda: b'<?xml version="1.0"?>\n<net name="m" version="11">\n</net>', "OpenVINO", "converted from"),
    "engine": (lambda: b"ftrt" + bytes(60), "TensorRT engine", "built from"),
    "lfs.onnx": (lambda: POINTER, r"Git LFS pointer to 12,345,678 bytes", "git lfs pull --include m.lfs.onnx"),
    "zip": (lambda: zipped(folder__model_DOT_onnx="x"), "zip archive", "folder/model.onnx"),
    "npz": (lambda: saved(lambda s: np.savez(s, x=np.ones(2))), "NumPy arrays", "--data npz:"),
    "onnx.gz": (lambda: gzip.compress(b"\x08\x07"), "compressed by gzip", "gzip -dc"),
    "onnx.tgz": (lambda: gzip.compress(saved(tarred)), "tar archive compressed", "tar xzf"),
    "tar": (lambda: saved(tarred), "tar archive", "tar xf"),
    "html.onnx": (lambda: b"\n<!DOCTYPE html>\n<html lang='en'>", "a web page", "resolve/main/m.html.onnx"),
    "text.onnx": (lambda: b"Entry not found", "Entry not found", "resolve/main"),
    "json": (lambda: json.dumps({"modelTopology": {}}).encode(), "TensorFlow.js", "--tfjs"),
    "onnx": (lambda: b"", "an empty file", "again"),
}


@pytest.mark.parametrize("suffix", CASES)
def test_the_kind_and_the_way_to_onnx_are_said_whatever_the_name(tmp_path, suffix):
    content, what, hint = CASES[suffix]
    for name in (f"m.{suffix}", "model.onnx"):
        path = tmp_path / name
        path.write_bytes(content())
        with pytest.raises(InputError, match=what) as caught:
            read_facts(path)
        assert hint.replace(f"m.{suffix}", name) in caught.value.hint
        assert caught.value.exit_code == 3


@pytest.mark.parametrize(("suffix", "what"), [("mlmodel", "Core ML"), ("plan", "TensorRT"), ("th", "PyTorch")])
def test_where_the_content_says_nothing_the_name_does(tmp_path, suffix, what):
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(b"\x00\x01\x02" * 100)
    with pytest.raises(InputError, match=what):
        read_facts(path)


def test_folders(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_facts(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/student.onnx").touch()
    with pytest.raises(InputError) as caught:
        read_facts(tmp_path)
    assert f"name the file: {tmp_path}/models/student.onnx" in caught.value.hint
    (tmp_path / "net.onnx").touch()
    with pytest.raises(InputError) as caught:
        read_facts(tmp_path)
    assert "net.onnx" in caught.value.hint
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(InputError, match="SavedModel") as caught:
        read_facts(tmp_path)
    assert f"--saved-model {tmp_path}" in caught.value.hint


def test_a_zip_archive_that_is_cut_short(tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(zipped(a="x" * 100)[:50])
    with pytest.raises(InputError, match=r"checkpoint of PyTorch.*cut short"):
        read_facts(path)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_safetensors_whose_length_begins_as_a_pickle_does(tmp_path, length):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", length) + header + bytes(4))
    assert path.read_bytes()[:1] == pickle.dumps(0, protocol=2)[:1]
    assert list(safe_open(path, "numpy").keys()) == ["w"]
    with pytest.raises(InputError, match="safetensors"):
        read_facts(path)


COMPRESSED = {"gz": (gzip.compress, "gzip"), "bz2": (bz2.compress, "bzip2"), "xz": (lzma.compress, "xz")}


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("name", ["net.onnx.{}", "net.onnx", "my net's.onnx.{}", "my net's.onnx"])
def test_the_command_of_the_hint_unpacks_the_file_and_keeps_it(tmp_path, suffix, name):
    compress, program = COMPRESSED[suffix]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    path = tmp_path / name.format(suffix)
    packed = compress(b"\x08\x07the model")
    path.write_bytes(packed)
    with pytest.raises(InputError) as caught:
        read_facts(path)
    subprocess.run(caught.value.hint, shell=True, check=True, cwd=tmp_path)
    assert path.read_bytes() == packed
    (unpacked,) = set(tmp_path.iterdir()) - {path}
    assert unpacked.suffix == ".onnx"
    assert unpacked.read_bytes() == b"\x08\x07the model"


def test_code_in_a_hint_names_the_file_whatever_its_name(tmp_path):
    path = tmp_path / "my net's {0}.keras"
    path.write_bytes(CASES["keras"][0]())
    with pytest.raises(InputError) as caught:
        read_facts(path)
    code = ast.parse(caught.value.hint.removeprefix("export it: "))
    texts = {node.value for node in ast.walk(code) if isinstance(node, ast.Constant)}
    assert texts == {str(path), "my net's {0}.onnx", "onnx"}


@pytest.mark.parametrize("name", ["mobilenet_v1_1.0_224_quant.tflite", "net's.int8.tflite", "net.onnx.tflite"])
def test_a_tflite_file_is_converted_to_the_name_that_its_runtime_looks_beside(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CASES["tflite"][0]())
    with pytest.raises(InputError) as caught:
        read_facts(path)
    words = shlex.split(caught.value.hint.partition(": ")[2])
    converted = Path(words[words.index("--output") + 1].removesuffix(";"))
    assert converted.with_suffix(TFLITE) == path
    assert str(converted) == words[words.index("bench") + 1]
    converted.write_bytes(b"model")  # is not to be overwritten
    with pytest.raises(InputError) as caught:
        read_facts(path)
    assert caught.value.hint.endswith(f": kdbench bench {shlex.quote(str(converted))} --runtime onnxruntime,litert")
