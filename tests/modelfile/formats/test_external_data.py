"""External data: only files in the model's own folder, whole."""

import os

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.formats.external_data import external_files, is_external, read_external, read_small


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
        tensor(location="./link.bin"),
        tensor(location="weights//w.bin", offset="0", length="60"),
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


def test_all_tensors_are_read_also_through_links_and_need_no_file_afterwards(folder):
    values = np.arange(1025, dtype=np.float32)
    (folder / "weights" / "w.bin").write_bytes(bytes(8) + values.tobytes())
    (folder / "cached.bin").symlink_to("weights/w.bin")
    os.link(folder / "weights" / "w.bin", folder / "hard.bin")
    long, short, inner = (
        TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[size])
        for name, size in zip("abc", (1025, 3, 2), strict=True)
    )
    for one, place in (
        (long, {"location": "cached.bin", "offset": "8"}),
        (short, {"location": "hard.bin", "offset": "12"}),
    ):
        one.data_location = TensorProto.EXTERNAL
        for key, text in place.items():
            one.external_data.add(key=key, value=text)
    inner.float_data.extend([7, 8])
    read_small([short], folder / "m.onnx")
    read_external([long, short, inner], folder / "m.onnx")
    for one, expected in ((long, values), (short, [1, 2, 3]), (inner, [7, 8])):
        np.testing.assert_array_equal(numpy_helper.to_array(one), expected)
    assert external_files([long, short, inner], folder / "m.onnx") == []


def test_a_tensor_whose_file_is_missing_is_an_error_of_the_input(folder):
    one = tensor(location="absent.bin")
    one.data_location = TensorProto.EXTERNAL
    with pytest.raises(InputError, match="missing"):
        read_external([one], folder / "m.onnx")
