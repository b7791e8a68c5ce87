import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.results.samples import (
    call_arrays,
    call_times_ns,
    configuration_key,
    correct_key,
    energy_key,
    join_sessions,
    read_samples,
    session_calls,
    write_samples,
)

AT = {"provider": "cpu", "threads": 2, "batch": 1}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("axes", "key"),
    [
        (AT, "cpu-t2-b1"),
        ({**AT, "batch": 128, "runtime": "torch"}, "cpu-t2-b128-torch"),
        ({**AT, "mode": "paced", "gap_ms": 20}, "cpu-t2-b1-paced20ms"),
        ({**AT, "mode": "server", "rate_per_s": 50, "runtime": "torch"}, "cpu-t2-b1-server50-torch"),
        ({**AT, "mode": "offline"}, "cpu-t2-b1-offline"),
    ],
)
def test_a_configuration_is_named_after_its_axes(axes, key):
    assert configuration_key(axes) == key


def test_each_kind_of_sample_has_a_key_of_its_own():
    assert energy_key("m", AT) == "m/cpu-t2-b1-energy"
    assert correct_key("m") == "m/correct"


def test_sessions_are_joined_and_stored_with_their_numbers():
    arrays = {
        "0/0/ns": np.array([5, 6], np.int64),
        "0/0/block": np.array([0, 1], np.int64),
        "0/0/preempted": np.array([0, 3], np.int32),
    }
    calls = join_sessions([session_calls(arrays, "0/0", session) for session in (3, 4)])
    stored = call_arrays({"m/cpu-t2-b1": calls})
    assert {key: array.tolist() for key, array in stored.items()} == {
        "m/cpu-t2-b1/ns": [5, 6, 5, 6],
        "m/cpu-t2-b1/session": [3, 3, 4, 4],
        "m/cpu-t2-b1/block": [0, 1, 0, 1],
        "m/cpu-t2-b1/preempted": [0, 3, 0, 3],
    }
    assert [array.dtype.name for array in stored.values()] == ["int64", "int32", "int32", "int32"]


def test_call_times_are_those_of_the_first_model_that_has_any():
    samples = {"b/cpu-t2-b1/ns": np.array([7]), "c/cpu-t2-b1/ns": np.array([8]), "d/cpu-t2-b1/ns": np.array([])}
    assert call_times_ns(samples, ["a", "b", "c"], AT).tolist() == [7]
    assert call_times_ns(samples, ["a"], AT) is None
    assert call_times_ns(samples, ["d"], AT) is None


def test_samples_are_read_as_they_were_written(tmp_path):
    assert read_samples(tmp_path / "samples.npz") == {}
    write_samples(tmp_path / "samples.npz", {"m/correct": np.array([True, False])})
    assert {key: array.tolist() for key, array in read_samples(tmp_path / "samples.npz").items()} == {
        "m/correct": [True, False]
    }


def test_samples_of_any_number_of_runs_are_read_copied_and_pickled_without_keeping_their_files_open(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        write_samples(Path(f"{number}.npz"), {"m/correct": np.array([number])})
    before = len(list(Path("/dev/fd").iterdir()))
    many = [read_samples(Path(f"{number}.npz")) for number in range(12)]
    assert len(list(Path("/dev/fd").iterdir())) == before
    copies = [*map(copy.deepcopy, many), *pickle.loads(pickle.dumps(many))]
    monkeypatch.chdir("/")
    assert [samples["m/correct"].item() for samples in [*many, *copies]] == [*range(12)] * 3
    assert len(list(Path("/dev/fd").iterdir())) < before + 12


def test_samples_are_those_of_the_file_that_is_there(tmp_path):
    path = tmp_path / "samples.npz"
    write_samples(path, {"m/correct": np.array([1]), "n/correct": np.array([1])})
    samples = read_samples(path)
    assert samples["m/correct"].item() == 1
    write_samples(path, {"m/correct": np.array([2])})
    assert samples["m/correct"].item() == 2
    with pytest.raises(InputError, match=r"samples\.npz is not a readable archive"):
        samples["n/correct"]
    path.unlink()
    with pytest.raises(InputError, match=r"samples\.npz is not a readable archive"):
        samples["m/correct"]


@pytest.mark.parametrize("content", [b"no archive", np.lib.format.MAGIC_PREFIX + bytes(10)])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "samples.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"samples\.npz is not a readable archive"):
        read_samples(tmp_path / "samples.npz")


def test_a_damaged_array_is_refused_and_the_others_are_read(tmp_path):
    path = tmp_path / "samples.npz"
    times = RNG.integers(1, 10**9, 5000)
    np.savez_compressed(path, good=times, bad=times)
    data = bytearray(path.read_bytes())
    data[-3000:-2000] = bytes(1000)
    path.write_bytes(data)
    samples = read_samples(path)
    assert list(samples) == ["good", "bad"]
    assert (samples["good"] == times).all()
    assert "bad" in samples  # which does not unpack it
    assert "absent" not in samples
    with pytest.raises(InputError, match=r"samples\.npz is not a readable archive"):
        samples["bad"]
    with pytest.raises(KeyError):
        samples["absent"]
