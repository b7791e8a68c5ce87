"""The published sets: on small stand-ins written here, and on the real files where they are at hand."""

import hashlib
import io
import os
import pickle
import struct
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from kdbench.data import check, load
from kdbench.data.reading.images import channel_statistics
from kdbench.data.vision import PUBLISHED
from kdbench.errors import DataMissingError, InputError
from kdbench.results.preprocessing import Geometry


def real(root, name, parts):
    try:
        return load(name, root=root, parts=parts)
    except DataMissingError as error:
        pytest.skip(error.message)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def tiny_mnist(tmp_path):
    """Write a test part of six images, and no training part."""
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw / "t10k-images-idx3-ubyte", np.arange(6 * 28 * 28, dtype=np.uint8).reshape(6, 28, 28))
    write_idx(raw / "t10k-labels-idx1-ubyte", np.array([7, 2, 1, 0, 4, 1], np.uint8))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    """The addresses that are asked for; none answers."""
    requests = []

    def refuse(request, **_):
        requests.append(request.full_url)
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return requests


class Python2Pickler(pickle._Pickler):
    """Writes arrays as numpy 1 did under Python 2: their bytes are text, and they come from `numpy.core`."""

    def save_text(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_text}


def write_pickle(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    current = np.empty(0).__reduce__()[0].__module__
    path.write_bytes(stream.getvalue().replace(f"c{current}\n".encode(), b"cnumpy.core.multiarray\n"))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """Write a CIFAR-10 test part of four images, and let it be the published one."""
    folder = tmp_path / "cifar-10-batches-py"
    pixels = np.arange(4 * 3072, dtype=np.uint32).astype(np.uint8).reshape(4, 3072)
    md5 = write_pickle(folder / "test_batch", {"data": pixels, "labels": [3, 8, 8, 0]})
    names = {"label_names": [f"class {number}" for number in range(10)]}
    meta = "batches.meta", write_pickle(folder / "batches.meta", names)
    published = PUBLISHED["cifar10"]
    files = replace(published.files, parts={"train": {}, "test": {"test_batch": md5}}, meta=meta)
    monkeypatch.setitem(PUBLISHED, "cifar10", replace(published, files=files))
    return tmp_path


def test_constants_go_with_the_colour_of_the_images(tiny_mnist, tiny_cifar):
    coloured = load("mnist", root=tiny_mnist, parts=("test",), geometry=Geometry(colour="RGB"))
    assert (coloured.input_shape, coloured.mean, coloured.std) == ((3, 28, 28), (0.1307,) * 3, (0.3081,) * 3)
    grey = load("cifar10", root=tiny_cifar, parts=("test",), geometry=Geometry(colour="grey"))
    assert (grey.input_shape, grey.mean, grey.std) == ((1, 32, 32), (0.4809,), (0.2392,))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_grey_constants_are_those_of_the_grey_images(data_root, name):
    """The mean of luma is the luma of the means; the test part's own constants lie within a hundredth."""
    mean, std = (constants[0] for constants in PUBLISHED[name].constants(1))
    assert mean == pytest.approx(np.dot([0.299, 0.587, 0.114], PUBLISHED[name].mean), abs=0.0015)  # luma is rounded
    try:
        images = load(name, root=data_root, parts=("test",), geometry=Geometry(colour="grey")).test.inputs
    except DataMissingError as error:
        pytest.skip(error.message)
    assert channel_statistics(images) == (pytest.approx((mean,), abs=0.01), pytest.approx((std,), abs=0.01))


def test_mnist_test_part_alone(tiny_mnist):
    loaded = load("mnist", root=tiny_mnist, parts=("test",))
    assert loaded.train is None
    assert loaded.test.labels.tolist() == [7, 2, 1, 0, 4, 1]
    assert loaded.test.inputs.shape == (6, 1, 28, 28)
    assert loaded.test.inputs.ravel()[:300].tolist() == [*range(256), *range(44)]
    assert (loaded.mean, loaded.std) == ((0.1307,), (0.3081,))


def test_a_missing_part_is_told_with_files_and_ways_out(tiny_mnist):
    with pytest.raises(DataMissingError) as caught:
        load("mnist", root=tiny_mnist)
    assert "the train part" in caught.value.message
    assert "MNIST/raw/train-images-idx3-ubyte" in caught.value.message
    assert str(tiny_mnist) in caught.value.message
    for source in ("data.download=true", "KDBENCH_DATA", "data.root"):
        assert source in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x08\x03", b"not an idx file at all" * 10])
def test_a_broken_idx_file_is_the_users_error(tiny_mnist, content):
    (tiny_mnist / "MNIST/raw/t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load("mnist", root=tiny_mnist, parts=("test",))


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_test_part_is_torchvisions(data_root, name):
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    there = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[name]
    ours, theirs = real(data_root, name, ("test",)), there(data_root, train=False)
    pixels = np.asarray(theirs.data)
    assert (ours.test.inputs == (pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2))).all()
    assert ours.test.labels.tolist() == [int(label) for label in theirs.targets]
    assert list(ours.class_names) == theirs.classes


def test_checksums_and_addresses_are_torchvisions():
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    for name, there in (("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST)):
        files = PUBLISHED[name].files
        assert {(f"{file}.gz", md5) for file, md5 in files.md5.items()} == set(there.resources)
        assert list(files.mirrors) == there.mirrors
        assert list(files.class_names) == there.classes
    for name, there in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        files = PUBLISHED[name].files
        assert (files.folder, files.archive, files.archive_md5) == (there.base_folder, there.url, there.tgz_md5)
        assert [[*file] for file in files.parts["train"].items()] == there.train_list
        assert [[*file] for file in files.parts["test"].items()] == there.test_list
        assert (files.meta, files.label_names) == ((there.meta["filename"], there.meta["md5"]), there.meta["key"])


def test_old_torch_files_are_not_read(tiny_mnist):
    for name in ("training.pt", "test.pt"):
        path = tiny_mnist / "MNIST/processed" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"whatever")
    assert len(load("mnist", root=tiny_mnist, parts=("test",)).test) == 6


def test_what_is_there_is_not_downloaded(tiny_mnist, tiny_cifar, no_network):
    for name, root in (("mnist", tiny_mnist), ("cifar10", tiny_cifar)):
        load(name, root=root, download=True, parts=("test",))
    assert not no_network


def test_a_failed_download_is_the_users_error(tmp_path, no_network):
    with pytest.raises(DataMissingError, match="no route to host"):
        load("cifar10", root=tmp_path, download=True)
    assert no_network == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]


def test_nothing_is_downloaded_unasked(tmp_path, no_network):
    with pytest.raises(DataMissingError):
        load("cifar10", root=tmp_path)
    assert not no_network


def test_cifar_test_part_alone(tiny_cifar):
    loaded = load("cifar10", root=tiny_cifar, parts=("test",))
    assert loaded.class_names[3] == "class 3"
    assert loaded.test.labels.tolist() == [3, 8, 8, 0]
    # The files hold the red plane first, row by row: what was written is what lies in memory.
    assert loaded.test.inputs.reshape(4, 3072)[1].tolist() == (np.arange(3072, 6144) % 256).tolist()


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_a_pickle_that_fails_its_md5_is_never_opened(tiny_cifar, name):
    marker = tiny_cifar / "executed"

    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(marker),))

    write_pickle(tiny_cifar / "cifar-10-batches-py" / name, Hostile())
    with pytest.raises(DataMissingError, match=f"MD5: cifar-10-batches-py/{name}"):
        load("cifar10", root=tiny_cifar, parts=("test",))
    assert not marker.exists()


def test_files_can_be_checked_without_loading_them(tiny_cifar):
    check("cifar10", root=tiny_cifar)
    path = tiny_cifar / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataMissingError, match="published file by its MD5: cifar-10-batches-py/test_batch"):
        check("cifar10", root=tiny_cifar)
    check("cifar10", root=tiny_cifar, parts=("train",))
    check("cifar10", root=tiny_cifar, download=True)  # it will be there
    check("digits")
    check("npz:nothing.npz")  # loading it says what is wrong


def test_real_mnist(data_root):
    mnist = real(data_root, "mnist", ("train", "test"))
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[0] == 7
    mean, std = channel_statistics(mnist.train.inputs)
    assert mnist.mean == pytest.approx(mean, abs=1e-4)
    assert mnist.std == pytest.approx(std, abs=1e-4)


def test_real_cifar10_test_part(data_root):
    cifar = real(data_root, "cifar10", ("test",))
    assert cifar.train is None
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    assert [cifar.class_names[label] for label in cifar.test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    assert cifar.input_shape == (3, 32, 32)
    # The training part's constants: the test part's own lie within a hundredth.
    mean, std = channel_statistics(cifar.test.inputs)
    assert cifar.mean == pytest.approx(mean, abs=0.01)
    assert cifar.std == pytest.approx(std, abs=0.01)


def test_real_cifar100(data_root):
    cifar = real(data_root, "cifar100", ("train", "test"))
    assert np.bincount(cifar.train.labels).tolist() == [500] * 100
    assert np.bincount(cifar.test.labels).tolist() == [100] * 100
    assert (cifar.class_names[0], cifar.class_names[99]) == ("apple", "worm")
    assert cifar.class_names[cifar.test.labels[0]] == "mountain"
    mean, std = channel_statistics(cifar.train.inputs)
    assert cifar.mean == pytest.approx(mean, abs=4e-4)
    assert cifar.std == pytest.approx(std, abs=1.5e-3)
