"""Results and bundles that were changed on their way, by chance or on purpose: refused, and nothing is written."""

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.cli.main import main
from kdbench.edge.bundles.stored_bundles import known_bundle
from kdbench.edge.exchange.archive import SUMS, sums_of, write_archive
from kdbench.edge.results.result import read_result
from kdbench.errors import InputError
from kdbench.results.run_folder import RunFolder

FLIPS, EDITS = 80, 100
ODD = [None, -1, 1.5, "five", "NaN", [], {}, True, 10**30, "x" * 5000]


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != SUMS}


def archive_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    write_archive(stream, members)
    return stream.getvalue()


def with_json(members: dict[str, bytes], change: Callable[[Any], None]) -> bytes:
    content = json.loads(members["result.json"])
    change(content)
    return archive_of({**members, "result.json": json.dumps(content).encode()})


def flips(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the archive with one bit changed, cut short, or longer."""
    rng = np.random.default_rng(0)
    for place in (*range(4), *rng.integers(0, len(whole), FLIPS).tolist(), *range(len(whole) - 22, len(whole))):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        yield f"bit of byte {place}", bytes(changed)
    for length in (0, 3, 21, len(whole) // 2, len(whole) - 1):
        yield f"cut to {length}", whole[:length]
    yield "longer", whole + b"\0"
    yield "twice", whole + whole
    yield "text before", b"x" + whole


def edits(members: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield archives that are whole, with values in result.json that no measurement gives."""
    content = json.loads(members["result.json"])
    places = list(_places(content))
    rng = np.random.default_rng(1)
    for number in rng.permutation(len(places))[:EDITS].tolist():
        place = places[number]
        value = _at(content, place)
        odd = [one for one in ODD if _is_odd(place, value, one)]
        new = odd[int(rng.integers(len(odd)))]
        yield f"{place} = {str(new)[:20]}", with_json(members, lambda c, p=place, n=new: _set(c, p, n))
    for place in (("steps", "parity"), ("device", "host"), ("settings",), ()):
        yield f"unknown key in {place}", with_json(members, lambda c, p=place: _at(c, p).update(more=1))
    yield "true for a version", with_json(members, lambda c: c.update(schema=True))
    pages = ("sessions", 0, "conditions", 0, "swapped_in_pages")
    yield "fewer than no pages", with_json(members, lambda c: _set(c, pages, -1))
    text = members["result.json"].decode()
    for number in ("NaN", "Infinity", "1e999", "1" * 400):
        marked = text.replace('"clock_step_ns": ', f'"clock_step_ns": {number}, "x": ', 1)
        assert marked != text
        yield number, archive_of({**members, "result.json": marked.encode()})
    yield "no text", archive_of({**members, "result.json": b"\xff\xfe"})
    yield "nested", archive_of({**members, "result.json": b"[" * 100_000})


def forgeries(members: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield archives with other files than a result has, or with other samples in them."""
    foreign = ("../evil", "/etc/evil", "outputs/../../evil.npy", "..\\evil", "outputs/99.npy", "sessions/7.npz")
    for name in (*foreign, "more.txt"):
        yield name, archive_of({**members, name: b"evil"})
    for name in members:
        yield f"without {name}", archive_of({key: value for key, value in members.items() if key != name})
        yield f"empty {name}", archive_of({**members, name: b""})
    zeros, wrong = io.BytesIO(), io.BytesIO()
    outputs = np.load(io.BytesIO(members["outputs/0.npy"]))
    np.save(zeros, np.zeros_like(outputs))
    np.save(wrong, outputs[:, :1])
    for stream in (zeros, wrong):
        yield "other outputs", archive_of({**members, "outputs/0.npy": stream.getvalue()})
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    yield "pickled", archive_of({**members, "outputs/0.npy": pickled.getvalue()})
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    shape = b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }"
    yield "huge array", archive_of({**members, "outputs/0.npy": header + shape.ljust(117) + b"\n"})
    with np.load(io.BytesIO(members["sessions/0.npz"])) as arrays:
        samples = dict(arrays)
    key = next(name for name in samples if name.endswith("/ns"))
    for change in (-samples[key], samples[key][:-1], samples[key].astype(float), samples[key].reshape(1, -1)):
        yield "other samples", archive_of({**members, "sessions/0.npz": _npz({**samples, key: change})})
    yield "more samples", archive_of({**members, "sessions/0.npz": _npz({**samples, "9/9/ns": samples[key]})})
    yield "session of another", archive_of({**members, "sessions/0.npz": _npz({})})
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as archive:
            for name, content in {SUMS: sums_of(members), **members}.items():
                archive.writestr(name, content)
        yield "another zip", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own about it
        for name in (SUMS, "result.json", "result.json"):
            archive.writestr(name, members.get(name, b""))
    yield "a member twice", stream.getvalue()


def test_two_hundred_changed_results_are_refused(run, result, tmp_path):
    whole, members = result.read_bytes(), members_of(result)
    read_result(result, RunFolder(run))  # as it is, it is one
    changed = [*flips(whole), *edits(members), *forgeries(members)]
    assert len(changed) > 200
    accepted, refused = [], 0
    for number, (what, content) in enumerate(changed):
        file = tmp_path / f"{number}.zip"
        file.write_bytes(content)
        try:
            read_result(file, RunFolder(run))
        except InputError:
            refused += 1
        else:
            accepted.append(what)
        file.unlink()
    assert accepted == []
    assert refused == len(changed)


def test_a_refused_result_leaves_everything_as_it_is(run, result, measured, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    escaping = outside / "result.zip"
    escaping.write_bytes(archive_of({**members_of(result), "../../../evil": b"evil"}))
    bundle = measured / "run" / "bundles" / "here.zip"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for file in (escaping, bundle, outside, outside / "none.zip", run / "record.json"):
        assert main(["merge", str(run), str(file)]) == 3
        assert "hint:" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_result_of_another_run_is_refused(run, result, capsys):
    for file in (run / "bundles").glob("*.json"):
        file.unlink()
    assert main(["merge", str(run), str(result)]) == 3
    assert "has not made the bundle" in capsys.readouterr().err


def test_a_bundle_of_which_the_run_has_lost_a_part_is_refused(run, capsys):
    (manifest,) = (run / "bundles").glob("*.json")
    known_bundle(manifest.stem, RunFolder(run))
    for kept in (manifest.with_suffix(".toml"), manifest.with_suffix(".npz"), manifest):
        whole = kept.read_bytes()
        if kept.suffix != ".npz":
            kept.write_bytes(whole + b"\n")
            with pytest.raises(InputError, match="was changed"):
                known_bundle(manifest.stem, RunFolder(run))
        kept.unlink()
        with pytest.raises(InputError, match=r"lacks a part|has not made"):
            known_bundle(manifest.stem, RunFolder(run))
        kept.write_bytes(whole)


def test_a_result_of_models_that_the_run_no_longer_holds_is_refused(run, result, capsys):
    record = json.loads((run / "record.json").read_text())
    record["models"][1]["sha256"] = "0" * 64
    (run / "record.json").write_text(json.dumps(record))
    assert main(["merge", str(run), str(result)]) == 3
    assert "measured another small" in capsys.readouterr().err


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*place, key)
        yield from _places(one, (*place, key))


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def _set(value: Any, place: tuple[Any, ...], new: Any) -> None:
    _at(value, place[:-1])[place[-1]] = new


def _is_odd(place: tuple[Any, ...], value: Any, new: Any) -> bool:
    """Return whether `new` is no possible value in place of `value`: another type, or out of any range."""
    if value is None:
        return isinstance(new, (list, dict, bool)) or new == 10**30
    if isinstance(value, str):
        return not isinstance(new, str) and new is not None
    if isinstance(value, bool):
        return not isinstance(new, bool)
    if isinstance(value, (int, float)):
        return new is not None and new != 1.5 and (new != -1 or "temperature_c" not in place)
    return not isinstance(new, type(value)) and new is not None
