"""Published files: what is read, refused and downloaded; the network is a function here."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from functools import partial

import numpy as np
import pytest

from kdbench.data.reading.published_files import ArraysUnpickler, IdxFiles, PickledFiles, downloaded, read_idx


def md5_of(content):
    return hashlib.md5(content).hexdigest()


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def served(monkeypatch):
    """What each address answers with, and in order which were asked for."""
    answers, requests = {}, []

    def answer(request, **_):
        requests.append(request.full_url)
        if request.full_url not in answers:
            raise OSError("404")
        return io.BytesIO(answers[request.full_url])

    monkeypatch.setattr("urllib.request.urlopen", answer)
    return answers, requests


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08\x01",
        idx(np.zeros((2, 3, 3), np.uint8)),  # three axes
        idx(np.zeros(4, np.uint8))[:-1],
        idx(np.zeros(4, np.uint8)) + b"\x00",
        b"\x00\x00\x0c\x01" + idx(np.zeros(4, np.uint8))[4:],  # 32-bit integers
    ],
)
def test_what_is_no_idx_file_of_bytes_is_refused(tmp_path, content):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(ValueError, match="labels"):
        read_idx(tmp_path / "labels", 1)


def test_an_idx_file_is_read_in_its_shape(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "images").write_bytes(idx(array))
    assert (read_idx(tmp_path / "images", 3) == array).all()


@pytest.mark.parametrize("named", [exec, partial, np.load, np.dtype("O").type, bytearray])
def test_a_pickle_names_nothing_but_arrays(named):
    with pytest.raises(pickle.UnpicklingError):
        ArraysUnpickler(io.BytesIO(pickle.dumps({"data": named}))).load()


def test_packed_files_are_downloaded_by_their_checksum_and_unpacked(tmp_path, served):
    answers, requests = served
    contents = {"t10k-images-x": idx(np.ones((2, 3, 3), np.uint8)), "t10k-labels-x": idx(np.array([1, 0], np.uint8))}
    packed = {name: gzip.compress(content, mtime=0) for name, content in contents.items()}
    md5 = {name: md5_of(content) for name, content in packed.items()} | {"train-images-x": "", "train-labels-x": ""}
    files = IdxFiles("SET/raw", ("https://first/", "https://second/"), md5, ("a", "b"))
    answers |= {f"https://second/{name}.gz": content for name, content in packed.items()}
    answers["https://first/t10k-images-x.gz"] = gzip.compress(b"something else")
    files.download(tmp_path, "test")
    assert requests == [f"https://{at}/{name}.gz" for name in contents for at in ("first", "second")]
    assert {file.name: file.read_bytes() for file in (tmp_path / "SET/raw").iterdir()} == contents
    images, labels, _ = files.read(tmp_path, "test")
    assert (images.shape, labels.tolist()) == ((2, 1, 3, 3), [1, 0])
    # What lies packed beside the place of the file need not be downloaded.
    (tmp_path / "SET/raw/t10k-labels-x").rename(tmp_path / "SET/raw/other")
    (tmp_path / "SET/raw/t10k-labels-x.gz").write_bytes(packed["t10k-labels-x"])
    files.download(tmp_path, "test")
    assert len(requests) == 4
    assert (tmp_path / "SET/raw/t10k-labels-x").read_bytes() == contents["t10k-labels-x"]


def test_an_archive_brings_the_files_of_all_parts_and_nothing_else(tmp_path, served):
    answers, requests = served
    contents = {name: name.encode() for name in ("train", "test", "meta", "extra")}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"SET/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parts = {part: {part: md5_of(contents[part])} for part in ("train", "test")}
    files = PickledFiles(
        "SET", "https://there/set.tar.gz", md5_of(stream.getvalue()), parts, ("meta", md5_of(b"meta")), "", ""
    )
    answers["https://there/set.tar.gz"] = stream.getvalue()
    files.download(tmp_path, "test")
    assert {file.name for file in (tmp_path / "SET").iterdir()} == {"train", "test", "meta"}
    files.download(tmp_path, "train")
    assert len(requests) == 1


def test_another_file_than_the_published_one_is_refused(served):
    answers, _ = served
    answers["https://there/a"] = b"another"
    with pytest.raises(OSError, match=r"MD5.*404"):
        downloaded(["https://there/a", "https://there/b"], md5_of(b"it"))
