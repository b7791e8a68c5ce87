"""The published sets: on small stand-ins written here, and on the real files where they are at hand."""

import gzip
import hashlib
import os
import pickle
import struct

import numpy as np
import pytest

from kdbench.data import load
from kdbench.data.reading.images import channel_statistics
from kdbench.errors import DataMissingError, InputError


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


def write_pickle(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """Write a CIFAR-10 test part of four images whose MD5 torchvision is made to expect."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    pixels = np.arange(4 * 3072, dtype=np.uint32).astype(np.uint8).reshape(4, 3072)
    md5 = write_pickle(folder / "test_batch", {"data": pixels, "labels": [3, 8, 8, 0]})
    monkeypatch.setattr("torchvision.datasets.CIFAR10.test_list", [["test_batch", md5]])
    names = {"label_names": [f"class {number}" for number in range(10)]}
    meta = CIFAR10.meta | {"md5": write_pickle(folder / "batches.meta", names)}
    monkeypatch.setattr("torchvision.datasets.CIFAR10.meta", meta)
    return tmp_path


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


def test_old_torch_files_are_not_read(tiny_mnist):
    for name in ("training.pt", "test.pt"):
        path = tiny_mnist / "MNIST/processed" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"whatever")
    assert len(load("mnist", root=tiny_mnist, parts=("test",)).test) == 6


def test_download_fetches_only_the_part_asked_for(tmp_path, monkeypatch):
    fetched = []

    def fake_download(_url, download_root, filename, md5):
        fetched.append((filename, md5))
        array = np.zeros((2, 28, 28), np.uint8) if "images" in filename else np.zeros(2, np.uint8)
        write_idx(tmp_path / "FashionMNIST/raw" / filename.removesuffix(".gz"), array)
        (tmp_path / "FashionMNIST/raw" / filename).write_bytes(gzip.compress(b""))

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fake_download)
    assert len(load("fashion_mnist", root=tmp_path, download=True, parts=("test",)).test) == 2
    assert [name for name, _ in fetched] == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    load("fashion_mnist", root=tmp_path, download=True, parts=("test",))
    assert len(fetched) == 2, "what is there is not fetched again"


def test_a_failed_download_is_the_users_error(tmp_path, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(DataMissingError, match="no route to host"):
        load("cifar10", root=tmp_path, download=True)


def test_nothing_is_downloaded_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", lambda _: pytest.fail("downloads"))
    with pytest.raises(DataMissingError):
        load("cifar10", root=tmp_path)


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
