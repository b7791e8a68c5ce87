"""Damaged files in a run's folder: what `--resume` makes of each.

Found is exit 4, a hang, and a damaged file that was used: where the run ends with exit 0, its weights, its curves and
its scores are those of a run that nothing happened to. Linux: see `forking`.
"""

import json
import os
import pickle
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.faults.forking import forked, load, start
from benchmarks.faults.material import mutations
from benchmarks.faults.trial import Trial

RECIPE = """
name = "faults"
data = { name = "digits", validation = 0.2, subset = { random = 300 } }
training = { epochs = 2, batch = 64, threads = 1 }
measure = { times = false, energy = "off" }
teacher = [{ name = "teacher", model = { name = "dense", hidden = [16] } }]
variant = [{ of = "student", method = "int8" }]
[[student]]
name = "student"
teacher = "teacher"
model = { name = "nets:make" }
training = { epochs = 12 }
terms = [{ method = "kd" }]
"""
NETWORK = (
    "import torch\ndef make(classes): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))\n"
)
_RUN, _TRAIN = ("run", "r.toml", "--out", "out"), ("train", "r.toml", "--out", "out")
_VARYING = {"seconds", "teacher_s", "created", "command", "sha256"}
_DONE_S = 600.0


class Payload:
    """What a pickle makes of this writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return a call of `open` on a file that then exists."""
        return open, ("PICKLE-RAN", "w")


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Damage `count` files of a complete run, of a complete training, and of an interrupted one, in turn."""
    os.environ["KDBENCH_CACHE"] = str(folder / "cache")
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")  # others may measure here meanwhile
    load()
    bases = _bases(folder)
    expected = results(bases["run"] / "out")
    dice = random.Random(seed)
    for number in range(count):
        name = ("training", "training", "interrupted", "run")[number % 4]
        place = folder / str(number)
        shutil.copytree(bases[name], place)
        yield one(name, dice, place, expected)
        shutil.rmtree(place)


def one(name: str, dice: random.Random, place: Path, expected: dict[str, Any]) -> Trial:
    """Damage a file of a copied base, resume it, and compare what it gives with what is expected."""
    files = sorted(path for path in (place / "out").rglob("*") if path.is_file() and path.suffix not in {".svg", ".md"})
    file = dice.choice(files)
    how, before = damage(file, dice), _unfinished(place)
    ended = forked((*(_RUN if name == "run" else _TRAIN), "--resume"), place, 120.0)
    faults = list(ended.found)
    if ended.code == 0:
        faults += [f"{key} differs" for key, one in results(place / "out").items() if expected.get(key) != one]
    if (place / "PICKLE-RAN").exists():
        faults.append("ran a pickle")
    faults += [f"left {name}" for name in sorted(_unfinished(place) - before)]
    return Trial("resume", f"{name}: {file.relative_to(place / 'out')} {how}", ended.outcome, tuple(faults))


def _unfinished(place: Path) -> set[str]:
    """Return the files that say that somebody is at work; a killed process leaves some to the next one."""
    return {path.name for path in place.rglob("*") if path.name.endswith((".part", ".measuring", ".in-use"))}


def damage(file: Path, dice: random.Random) -> str:
    """Change what the file holds in one way; return how."""
    content = file.read_bytes()
    how = dice.choice(("bit", "bit", "damaged", "empty", "pickle", "other", "json"))
    if how == "bit" and content:
        data = bytearray(content)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        content = bytes(data)
    elif how == "json" and file.suffix == ".json":
        content = mutations.json_text(json.loads(content), dice)
    elif how == "empty":
        content = b""
    elif how == "pickle":
        content = pickle.dumps(Payload())
    elif how == "other":
        content = dice.choice((b"[]", b"{}", b"null", b"1", b'"x"', bytes(64)))
    else:
        content = mutations.damaged(content, dice)
    file.write_bytes(content)
    return how


def _bases(folder: Path) -> dict[str, Path]:
    """Return folders with a complete run, a complete training and an interrupted one, of the same recipe."""
    from kdbench.distill.training import loop

    bases = {name: folder / name for name in ("run", "training", "interrupted")}
    for place in bases.values():
        place.mkdir(parents=True)
        (place / "r.toml").write_text(RECIPE)
        (place / "nets.py").write_text(NETWORK)
    for name, arguments in (("run", _RUN), ("training", _TRAIN)):
        ended = forked(arguments, bases[name], _DONE_S)
        assert ended.code == 0, ended
    loop.SAVE_INTERVAL_S = 0.0  # also in the trials, which are forks of this process
    unfinished = bases["interrupted"] / "out" / "checkpoints" / "student" / "unfinished" / "latest.ckpt"
    child = start(_TRAIN, bases["interrupted"])
    end = time.monotonic() + _DONE_S
    while not unfinished.exists() and time.monotonic() < end:
        time.sleep(0.001)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert unfinished.exists(), "it finished before it was interrupted"
    return bases


def results(out: Path) -> dict[str, Any]:
    """Return what does not depend on the time of a run: weights, curves and measured numbers."""
    contents: dict[str, Any] = {}
    for path in sorted((out / "checkpoints").rglob("*.safetensors")):
        contents[str(path.relative_to(out))] = path.read_bytes()
    for path in sorted((out / "checkpoints").rglob("training.json")):
        contents[str(path.relative_to(out))] = _lasting(json.loads(path.read_text()))
    record = out / "record.json"
    if record.exists():
        content = json.loads(record.read_text())
        contents["models"] = _lasting(content["models"])
        contents["measurements"] = [
            (one["model"], one["metric"], one["axes"], one["value"])
            for one in content["measurements"]
            if one["metric"] not in {"training_s", "training_j"}
        ]
    return contents


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(inner) for key, inner in value.items() if key not in _VARYING}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value
