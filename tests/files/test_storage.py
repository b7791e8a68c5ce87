import errno
import hashlib
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from kdbench.errors import InputError, StorageError
from kdbench.files import storage
from kdbench.files.plain_json import is_suspicious

AS_ROOT = os.geteuid() == 0


def test_a_tilde_is_the_home_folder_or_a_part_of_a_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert storage.with_home("~/data") == Path("/home/ada/data")
    for path in ("~no-such-user/data", "~old.npz", "data/~old.npz"):
        assert storage.with_home(path) == Path(path)


def test_what_was_written_is_read_back(tmp_path):
    value = {"ratio": 12.5, "unit": "×", "list": [1, None]}
    storage.write_json(tmp_path / "a.json", value)
    assert storage.read_json(tmp_path / "a.json", "record") == value


@pytest.mark.parametrize("tokens", [1, 7, 1 << 14])
def test_json_is_the_same_in_pieces_of_any_size(tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_PIECE", tokens)
    value = {"a": ["\x1b[31m", "µ · 😀", "\ud800", {"x": [-1.5e-300, 10**20, True, None]}], "\u202e": {}, "b": []}
    expected = json.dumps(value, indent=2, ensure_ascii=False).replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert storage.json_text(value) == expected
    storage.write_json(tmp_path / "a.json", value)
    assert (tmp_path / "a.json").read_text() == f"{expected}\n"


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    storage.write_text(path, "old")

    def write_half() -> None:
        with storage.writing(path) as stream:
            stream.write(b"half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_stands_under_the_name_before_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with storage.writing(path) as stream:
        stream.write(b"text")
        assert not path.exists()
    assert path.read_text() == "text"


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    """As /dev/null does: a user who may replace it would have none afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    storage.write_text(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_to_an_open_file_of_the_process_is_written_to_and_stays_one(tmp_path):
    """As /dev/stdout is, also where the output goes to a file."""
    with (tmp_path / "output").open("wb") as output:
        link = tmp_path / "stdout"
        link.symlink_to(f"/proc/self/fd/{output.fileno()}")
        assert not storage.is_stream(tmp_path / "output")
        storage.write_text(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "output").read_text() == "text"


def test_a_user_without_a_home_folder_is_told_what_to_set(tmp_path, monkeypatch):
    def unknown(number):
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "KDBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(StorageError, match="no home folder") as caught:
        storage.user_cache()
    assert "KDBENCH_CACHE" in caught.value.hint
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    assert storage.user_cache() == tmp_path


def test_numbers_that_json_cannot_carry_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_said_to_be_full(tmp_path, monkeypatch):
    real_open = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r": real_open(Path("/dev/full") if mode == "wb" else self, mode)
    )
    with pytest.raises(StorageError, match="the disk is full") as caught:
        storage.write_text(tmp_path / "a.txt", "text")
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.ENOSPC, "disk is full", "free some space"),
        (errno.EACCES, "cannot be written: Permission denied", "--out"),
        (errno.EROFS, "cannot be written: Read-only", "--out"),
        (errno.EIO, "cannot be written: Input/output error", "another folder"),
    ],
)
def test_what_the_system_says_becomes_a_remedy(number, message, hint):
    error = storage.storage_error(OSError(number, os.strerror(number)), Path("out/a.json"))
    assert message in error.message
    assert "out/a.json" in error.message
    assert hint in error.hint


@pytest.mark.skipif(AS_ROOT, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        storage.make_folder(tmp_path / "runs")


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        storage.make_folder(tmp_path / "file" / "runs")


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    folder = storage.make_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())
    assert storage.make_folder(folder) == folder


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert storage.read_json(tmp_path / "a.json", "record") == [1]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": ', b"\x08\xff\xfe"])
def test_what_is_no_json_is_named_after_what_it_should_be(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"record\.json is not a readable record"):
        storage.read_json(path, "record")


def test_a_missing_file_is_named_after_what_it_should_be(tmp_path):
    with pytest.raises(InputError, match="no record at"):
        storage.read_json(tmp_path / "record.json", "record")


@pytest.mark.parametrize(
    ("memory", "largest"), [(1 << 30, 1 << 29), (1 << 33, 1 << 29), (1 << 35, 1 << 31), (None, 1 << 29)]
)
def test_a_machine_with_more_memory_reads_larger_files(memory, largest, tmp_path, monkeypatch):
    def known(name: str) -> int:
        if memory is None:
            raise ValueError(name)
        return {"SC_PHYS_PAGES": memory >> 12, "SC_PAGE_SIZE": 1 << 12}[name]

    monkeypatch.setattr(os, "sysconf", known)
    (tmp_path / "a.json").touch()
    for size in (largest, largest + 1):
        os.truncate(tmp_path / "a.json", size)  # takes no space
        if size <= largest:
            storage.require_text(tmp_path / "a.json")
        else:
            with pytest.raises(OSError, match=f"at most {largest:,}"):
                storage.require_text(tmp_path / "a.json")


def test_sha256_is_hashlibs(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert storage.sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_equal_content_has_equal_hashes():
    assert storage.content_hash({"a": 1, "b": [1, 2]}) == storage.content_hash(json.loads('{"b": [1, 2], "a": 1}'))
    assert storage.content_hash({"a": 1}) != storage.content_hash({"a": "1"})
    assert storage.content_hash([1, 2]) != storage.content_hash([2, 1])


@pytest.mark.parametrize(
    "text",
    ['["\\ud800"]', '{"\\ud800": 1}', "[NaN]", "[-Infinity]", "[1e999]", f"[{10**30}]", f"[{'9' * 5000}]", 10**5 * "["],
    ids=range(8),
)
def test_json_that_cannot_be_written_again_is_refused(text: str, tmp_path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="not a readable thing"):
        storage.read_json(tmp_path / "a.json", "thing")


@pytest.mark.parametrize(
    "text", ['["\\ud83d\\ude00"]', f"[{2**63 - 1}]", "[1e299, 1e-400]", '["12345678901234567890"]']
)
def test_json_that_looks_like_it_is_read(text: str, tmp_path) -> None:
    (tmp_path / "a.json").write_text(text)
    storage.write_json(tmp_path / "b.json", storage.read_json(tmp_path / "a.json", "thing"))


@contextmanager
def files_of_at_most(size_bytes):
    """No file grows beyond that here, as on a disk that is full: only the error's number differs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_in_its_own_words(path):
    """A library that hides why it could not write, as torch and safetensors do."""
    try:
        path.write_bytes(bytes(10_000))
    except OSError as error:
        raise RuntimeError("unexpected pos 640 vs 598") from error


@pytest.mark.parametrize("save", [save_in_its_own_words, lambda path: np.save(path.open("wb"), np.zeros(10_000))])
def test_a_library_that_could_not_write_is_understood_and_the_old_file_stays(tmp_path, save):
    path = tmp_path / "weights"
    storage.write_text(path, "old")
    refused = pytest.raises(StorageError, match="file size limit")
    with files_of_at_most(4096), refused, storage.replacing(path) as part:
        save(part)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with storage.replacing(path) as part:
        save(part)
    assert path.stat().st_size > 9_000


def test_a_library_s_other_error_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="no such layer"), storage.replacing(tmp_path / "weights"):
        raise RuntimeError("no such layer")
    assert list(tmp_path.iterdir()) == []


def chained(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (chained(RuntimeError("unexpected pos"), OSError(errno.ENOSPC, "no space")), True),
        (chained(RuntimeError("unexpected pos"), OSError(errno.ENOENT, "not there")), False),
        (ValueError("shapes differ"), False),
    ],
)
def test_a_full_disk_is_known_by_its_cause_or_its_words(error, is_full, tmp_path):
    assert (storage.disk_error(error) is not None) == is_full
    with pytest.raises(StorageError if is_full else type(error)), storage.storage_errors(tmp_path):
        raise error


def test_a_copy_that_finds_the_disk_full_is_the_file_that_was_not_written(tmp_path):
    error = OSError(errno.ENOSPC, "No space left on device", "source.onnx", None, "copy.onnx")  # as shutil raises it
    with (
        pytest.raises(StorageError, match=r"disk is full: copy\.onnx was not written"),
        storage.storage_errors(tmp_path),
    ):
        raise error


NUMBERS = [
    ("123456789012345678", False),  # 18 digits: every one is below 2⁶³
    ("1234567890123456789", True),
    ("-1234567890123456789", True),
    ("0.1234567890123456789", False),
    ("1e99", False),
    ("1.5E+100", True),
    ("-25e999", True),
    ("1e-999", False),
    ('"a5e123f"', False),  # a hash
    ('"1234567890123456789"', False),
    (r'"\ud83d"', True),
    (r'"\u00e9"', False),
]


@pytest.mark.parametrize(("value", "suspicious"), NUMBERS)
@pytest.mark.parametrize("around", ["[{}]", '{{"a":{}}}', '{{"a": 1,\n"b":\t{}}}', "[0,{},1]"])
def test_text_is_looked_at_closely_where_a_value_may_be_one_that_cannot_be_written(value, suspicious, around):
    assert is_suspicious(around.format(value).encode()) == suspicious
