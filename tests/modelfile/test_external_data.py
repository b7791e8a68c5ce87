"""External data: only files in the model's own folder, whole."""

import os

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.external_data import external_files, is_external, read_small


def tensor(**external):
    """Return ten floats that are stored elsewhere."""
    result = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10])
    for key, value in external.items():
        result.external_data.add(key=key, value=value)
    return result


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside.bin").write_bytes(bytes(40))
    inside = tmp_path / "model"
    (inside / "weights").mkdir(parents=True)
    (inside / "weights" / "w.bin").write_bytes(bytes(60))
    (inside / "link.bin").symlink_to("../outside.bin")  # the user's own, as in a cache of downloads
    os.mkfifo(inside / "pipe")
    return inside


def test_files_in_the_folder_are_found_once_each(folder):
    tensors = [
        tensor(location="weights/w.bin", offset="20"),
        tensor(location="link.bin"),
        tensor(location="weights/w.bin", offset="0", length="60"),
        tensor(),
    ]
    assert external_files(tensors, folder / "m.onnx") == [folder / "link.bin", folder / "weights" / "w.bin"]


@pytest.mark.parametrize(
    ("external", "message"),
    [
        ({"location": "../outside.bin"}, "not in its own folder"),
        ({"location": "weights/../../outside.bin"}, "not in its own folder"),
        ({"location": "/dev/zero"}, "not in its own folder"),
        ({"location": "a\0b"}, "not in its own folder"),
        ({"location": ""}, "not in its own folder"),
        ({"location": "weights"}, "no file"),
        ({"location": "pipe"}, "no file"),
        ({"location": "other.bin"}, "missing"),
        ({"location": "x" * 5000}, "not readable"),
        ({"location": "link.bin", "offset": "1"}, "cut short: 40 of at least 41 bytes"),
        ({"location": "link.bin", "length": "41"}, "cut short: 40 of at least 41 bytes"),
        ({"location": "link.bin", "length": "-1"}, "not a number of bytes"),
        ({"location": "link.bin", "offset": "9" * 5000}, "not a number of bytes"),
        ({"location": "link.bin", "offset": "\u00b3"}, "not a number of bytes"),
    ],
)
def test_anything_else_is_refused(folder, external, message):
    with pytest.raises(InputError, match=message) as caught:
        external_files([tensor(**external)], folder / "m.onnx")
    assert len(caught.value.message) < 500
    assert caught.value.hint


@pytest.mark.parametrize(
    ("place", "elements", "is_read"),
    [
        ({"location": "weights/w.bin", "offset": "20"}, 10, True),
        ({"location": "weights/w.bin", "offset": "20"}, 1025, False),  # weights
        ({"location": "weights/absent.bin"}, 10, False),
        ({"location": "../outside.bin"}, 10, False),
        ({"location": "weights/w.bin", "offset": "30"}, 10, False),  # cut short
    ],
)
def test_short_tensors_are_read_and_stay_noted(folder, place, elements, is_read):
    values = np.arange(15, dtype=np.float32)
    (folder / "weights" / "w.bin").write_bytes(values.tobytes() + bytes(4200 if elements > 10 else 0))
    one = tensor(**place)
    one.dims[0], one.data_location = elements, TensorProto.EXTERNAL
    read_small([one], folder / "m.onnx")
    assert is_external(one) != is_read
    if is_read:
        np.testing.assert_array_equal(numpy_helper.to_array(one), values[5:])
        assert external_files([one], folder / "m.onnx") == [folder / "weights" / "w.bin"]
