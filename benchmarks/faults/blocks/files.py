"""Any file that kdbench leaves, damaged or replaced by something that is no such file, before any command that reads.

A trial may end in any exit code but 4, within a minute and 2 GiB. Found is also a file outside the folder, or a payload
that ran. Linux.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.blocks import resume
from benchmarks.faults.commands import leftovers
from benchmarks.faults.forking import forked, load
from benchmarks.faults.material import archives, strange
from benchmarks.faults.material.finished import AGAIN, build
from benchmarks.faults.trial import LIMIT_S, Trial

# What each command reads, as patterns.
_RECORD = ("out/record.json", "out/samples.npz", "out/verdicts/*")
_READ = {
    "run": ("out/**/*", "r.toml"),
    "verdict": _RECORD,
    "report": _RECORD,
    "show": _RECORD,
    "bench": ("out/models/*", "d.npz", "labels.txt"),
    "images": ("out/models/student.*", "photos/*/1*"),
    "compress": ("out/models/student.*", "d.npz"),
    "sweep": ("swept/**/*", "r.toml"),
    "bundle": (*_RECORD, "out/models/*", "out/recipe.json"),
    "compare": (*_RECORD, "benched/record.json", "benched/samples.npz"),
    "history": ("out/record.json", "benched/record.json"),
    "merge": ("result.zip", "result.zip", "out/record.json", "out/samples.npz", "out/bundles/*"),
}
_SLOW = ("run", "sweep", "bench")  # they measure, or start processes that train
_TURNS = [*(name for name in AGAIN if name not in _SLOW)] * 2 + [*_SLOW]
_SLOW_S = 240.0
_SHOWN = frozenset({".svg", ".md", ".html", ".csv", ".xml", ".py"})


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Damage `count` files, each in a copy of a folder in which every command is done."""
    os.environ["KDBENCH_CACHE"] = str(folder / "cache")
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")  # others may measure here meanwhile
    load()
    build(folder / "base")
    dice = random.Random(seed)
    for number in range(count):
        place = folder / str(number) / "place"
        shutil.copytree(folder / "base", place)
        yield one(_TURNS[number % len(_TURNS)], dice, place)
        shutil.rmtree(place.parent)


def one(name: str, dice: random.Random, place: Path) -> Trial:
    """Damage a file that a command reads, in the folder `place`, and run the command."""
    (place / "tmp").mkdir()
    pattern = dice.choice(_READ[name])
    files = sorted(path for path in place.glob(pattern) if path.is_file() and path.suffix not in _SHOWN)
    file = dice.choice(files)
    how = damage(file, dice)
    environment = {"TMPDIR": str(place / "tmp")}
    ended = forked(AGAIN[name], place, _SLOW_S if name in _SLOW else LIMIT_S, environment)
    faults = list(ended.found)
    faults += ["ran a pickle"] if (place / "PICKLE-RAN").exists() else []
    faults += [f"left {path.name} outside" for path in sorted(place.parent.iterdir()) if path != place]
    faults += [left] if (left := leftovers(place)) else []
    return Trial("files", f"{name}: {file.relative_to(place)} {how}", ended.outcome, tuple(faults))


def damage(file: Path, dice: random.Random) -> str:
    """Damage a file in a way of its kind, or put something strange in its place; return how."""
    if dice.random() < 0.3:
        return strange.put(file, dice)
    if file.suffix in {".zip", ".npz"} and dice.random() < 0.7:
        return archives.damage(file, dice)
    return resume.damage(file, dice)
