"""Damaged bundles and results: `run.py` measures no damaged bundle, and `kdbench merge` accepts no damaged result.

Found is any other end than exit 3 with a message, and a file that was changed, written or left. Damage that a copy or
a disk causes, and values that no device measures. Linux: see `forking`.
"""

import hashlib
import io
import json
import os
import random
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.forking import forked, load
from benchmarks.faults.material import mutations
from benchmarks.faults.trial import Ended, Trial, run

_TARGET = 'name = "here"\n[[criterion]]\nmetric = "latency_p50_ns"\nmax = "10 s"\n'
_CHECK = (sys.executable, "-P", "run.py", "--check")
_SUMS, _RESULT = "SHA256SUMS", "result.json"
_LIMIT_S = 60.0
_MADE_BY_PYTHON = "__pycache__"


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Damage a result and a bundle in turn, `count` times."""
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")  # others may measure here meanwhile
    load()
    place = folder / "base"
    _make(place)
    dice = random.Random(seed)
    for number in range(count):
        yield (_result, _bundle)[number % 2](place, dice)


def _make(place: Path) -> None:
    """Make a run of two small networks, its bundle, unpacked, and the bundle's result from this machine."""
    from kdbench.recipe import InputOptions, Measure
    from kdbench.workflows.bench import bench_models
    from kdbench.workflows.bundle import bundle

    place.mkdir(parents=True)
    files = [_network(place / f"{name}.onnx", seed) for seed, name in enumerate(("large", "small"))]
    bench_models(
        files, inputs=InputOptions(data="digits"), options=Measure(times=False), out=place / "run", command="kdbench"
    )
    (place / "here.toml").write_text(_TARGET)
    options = {"budget_s": 0.2, "sessions": 2, "threads": (1,)}
    bundle(place / "run", place / "here.toml", files=files, options=options)
    with zipfile.ZipFile(place / "run" / "bundles" / "here.zip") as archive:
        archive.extractall(place / "bundle")
    measured = run(_CHECK[:-1], place / "bundle", 600.0)
    assert measured.code == 0, measured.errors
    shutil.move(place / "bundle" / "result.zip", place / "result.zip")
    shutil.rmtree(place / "bundle" / "work")
    merged = forked(("merge", "run", "result.zip", "--name", "here"), place)
    assert merged.code == 0, merged.errors
    removed = forked(("merge", "run", "--remove", "here"), place)
    assert removed.code == 0, removed.errors


def _network(path: Path, seed: int) -> Path:
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.random.default_rng(seed).standard_normal((64, 10)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 10])
    nodes = [helper.make_node("Flatten", ["image"], ["x"]), helper.make_node("MatMul", ["x", "w"], ["logits"])]
    graph = helper.make_graph(nodes, path.stem, [image], [logits], [numpy_helper.from_array(weights, "w")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _result(place: Path, dice: random.Random) -> Trial:
    """Merge a damaged result."""
    whole = (place / "result.zip").read_bytes()
    name, damage = dice.choice(list(_RESULTS.items()))
    content = damage(whole, dice)
    file = place / "damaged.zip"
    file.write_bytes(content)
    before = _state(place)
    ended = forked(("merge", "run", file.name), place, _LIMIT_S)
    faults = [] if content == whole else _faults(ended, before, _state(place))
    file.unlink()
    return Trial("devices", f"result: {name}", ended.outcome, tuple(faults))


def _bundle(place: Path, dice: random.Random) -> Trial:
    """Check a bundle with a damaged file, which a device does before it measures."""
    files = sorted(
        file for file in (place / "bundle").rglob("*") if file.is_file() and _MADE_BY_PYTHON not in file.parts
    )
    file = dice.choice([file for file in files if file.name != "run.py"])  # a damaged program cannot check itself
    whole = file.read_bytes()
    how = dice.choice(("missing", "empty", "damaged", "damaged", "json" if file.suffix == ".json" else "damaged"))
    content = {"missing": None, "empty": b""}.get(how, whole)
    while content == whole:
        content = mutations.json_text(json.loads(whole), dice) if how == "json" else mutations.damaged(whole, dice)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    before = _state(place)
    ended = run(_CHECK, place / "bundle", _LIMIT_S)
    faults = _faults(ended, before, _state(place))
    file.write_bytes(whole)
    return Trial("devices", f"bundle: {file.relative_to(place / 'bundle')} {how}", ended.outcome, tuple(faults))


def _faults(ended: Ended, before: dict[str, str], after: dict[str, str]) -> list[str]:
    wrong = [] if ended.code in {3, None} else [f"accepted: exit code {ended.code}"]
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [*ended.found, *wrong, *(f"left {name}" for name in changed)]


def _state(place: Path) -> dict[str, str]:
    """Return the hash of every file below the folder above `place`, but Python's own and the locks."""
    files = (file for file in place.parent.rglob("*") if file.is_file())
    return {
        str(file.relative_to(place.parent)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if not {_MADE_BY_PYTHON, "locks"} & set(file.parts)
    }


def _members(whole: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != _SUMS}


def _packed(members: dict[str, bytes]) -> bytes:
    """Return the archive as `run.py` packs it, with hashes that are right for what it holds."""
    from kdbench.edge.exchange.archive import write_archive

    stream = io.BytesIO()
    write_archive(stream, members)
    return stream.getvalue()


def _of_bytes(whole: bytes, dice: random.Random) -> bytes:
    return mutations.damaged(whole, dice)


def _of_json(whole: bytes, dice: random.Random) -> bytes:
    """Replace a number of the result by one that no device measures."""
    members = _members(whole)
    content = json.loads(members[_RESULT])
    places = [place for place in _numbers(content) if "temperature_c" not in place]
    *path, last = dice.choice(places)
    inner: Any = content
    for key in path:
        inner = inner[key]
    inner[last] = dice.choice((-1, 10**30, "five", [], {}, float("nan"), float("inf"), "\ud800"))
    return _packed({**members, _RESULT: json.dumps(content).encode()})


def _numbers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _numbers(one, (*place, key))


def _of_text(whole: bytes, dice: random.Random) -> bytes:
    members = _members(whole)
    contents = (mutations.DEEP.encode(), b"\xff\xfe", b"null", b"[]", members[_RESULT][: dice.randrange(1000)])
    return _packed({**members, _RESULT: dice.choice(contents)})


def _of_member(whole: bytes, dice: random.Random) -> bytes:
    members = _members(whole)
    name = dice.choice([name for name in members if name != _RESULT])
    damage: Callable[[bytes, random.Random], bytes] = mutations.archive if name.endswith(".npz") else mutations.damaged
    while (content := damage(members[name], dice)) == members[name]:
        pass
    return _packed({**members, name: content})


def _of_names(whole: bytes, dice: random.Random) -> bytes:
    members = _members(whole)
    names = (
        "../evil",
        "/tmp/evil",
        "outputs/../../evil.npy",
        "..\\evil",
        "outputs/99.npy",
        "x" * 300,
        "\u202e",
        "a\nb",
    )
    if dice.random() < 0.5:
        return _packed({**members, dice.choice(names): b"evil"})
    del members[dice.choice(list(members))]
    return _packed(members)


def _of_compression(whole: bytes, dice: random.Random) -> bytes:
    """Pack the files as another program would, or declare other sizes than they have."""
    members = _members(whole)
    stream = io.BytesIO()
    kind = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(stream, "w", kind) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a member twice
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("outputs/0.npy" if dice.random() < 0.3 else "zeros.npy", bytes(50_000_000))
    return stream.getvalue()


_RESULTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes": _of_bytes,
    "number": _of_json,
    "text": _of_text,
    "member": _of_member,
    "names": _of_names,
    "compression": _of_compression,
}
