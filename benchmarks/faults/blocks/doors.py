"""Hostile names that come in by other ways than a record: files, folders, recipes, targets, labels, options.

A trial may end in exit 3, which refuses the name. Otherwise what is written and said is inspected as in `names`.
"""

import json
import os
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tomli_w

from benchmarks.faults.commands import RECIPE
from benchmarks.faults.forking import forked, load
from benchmarks.faults.inspection import problems, unsafe_in_log
from benchmarks.faults.material.hostile import texts
from benchmarks.faults.material.models import linear
from benchmarks.faults.material.small_record import small_record
from benchmarks.faults.situations import more_doors
from benchmarks.faults.situations.more_doors import REPORT, UNTIMED, Commands, Setting
from benchmarks.faults.trial import Trial

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the colours that FORCE_COLOR enables


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Try `count` names: a door in turn, with a listed or a random name."""
    os.environ["KDBENCH_CACHE"] = str(folder / "cache")
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")  # others may measure here meanwhile
    load()
    dice = random.Random(seed)
    names = texts(seed, count)
    dice.shuffle(names)
    for number, text in enumerate(names[:count]):
        yield one(list(DOORS)[number % len(DOORS)], text, folder / str(number))


def one(door: str, text: str, place: Path) -> Trial:
    """Bring a name in by a door, in the new folder `place`, and inspect what comes out."""
    place.mkdir(parents=True)
    shown = f"{door} {text[:40]!r}"
    try:
        commands = DOORS[door](text, place)
    except (OSError, ValueError) as error:  # no file can have this name
        return Trial("doors", shown, f"impossible: {type(error).__name__}")
    faults: list[str] = []
    outcomes = []
    for command in commands:
        words = [word for word in command if not isinstance(word, Setting)]
        settings = dict(word.split("=", 1) for word in command if isinstance(word, Setting))
        ended = forked(words, place, environment=settings)
        outcomes.append(ended.outcome)
        faults += [f"{command[0]}: {one}" for one in ended.found]
        shown_text = ended.output + ended.errors
        if settings.get("FORCE_COLOR"):
            shown_text = _COLOUR.sub("", shown_text)
        faults += [f"{command[0]}: the terminal: {one}" for one in unsafe_in_log(shown_text)]
        if ended.code == 3 and not settings:
            break
    for written in (place / "out", place / "written"):
        faults += problems(written) if written.is_dir() else []
    return Trial("doors", shown, ", ".join(dict.fromkeys(outcomes)), tuple(dict.fromkeys(faults)))


def _model(text: str, place: Path) -> Commands:
    file = Path(f"{place}/{text}.onnx")
    file.write_bytes(linear().SerializeToString())
    return ("macs", file), ("bench", file, "--no-accuracy", *UNTIMED), REPORT


def _labels(text: str, place: Path) -> Commands:
    (place / "m.onnx").write_bytes(linear().SerializeToString())
    np.savez(place / "d.npz", x_test=np.zeros((20, 1, 8, 8), np.uint8), y_test=np.arange(20) % 10)
    names = json.dumps([text, *map(str, range(1, 10))])
    (place / "labels.json").write_text(names, encoding="utf-8")
    return ("bench", "m.onnx", "--data", "npz:d.npz", "--labels", "labels.json", *UNTIMED), REPORT


def _recipe(text: str, place: Path) -> Commands:
    content = tomllib.loads(RECIPE.replace("epochs = 3", "epochs = 1"))
    content |= {"title": text, "measure": {"times": False}}
    content["student"][0]["name"] = text
    (place / "r.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    return ("run", "r.toml", "--out", "out"), REPORT


def _title(text: str, place: Path) -> Commands:
    content = tomllib.loads(RECIPE.replace("epochs = 3", "epochs = 1"))
    content |= {"title": text, "measure": {"times": False}}
    (place / "r.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    return ("run", "r.toml", "--out", "out"), REPORT


def _target(text: str, place: Path) -> Commands:
    (place / "out").mkdir()
    (place / "out" / "record.json").write_text(json.dumps(small_record()))
    criterion = {"metric": "top1", "min": "10 %"}
    content = {"name": "mine", "title": text, "note": text, "device": {"cpu": text}, "criterion": [criterion]}
    (place / "t.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    return ("ready", "out", "--target", "t.toml"), (*REPORT, "--target", "t.toml")


def _folder(text: str, place: Path) -> Commands:
    run = Path(f"{place}/{text}/run")
    run.mkdir(parents=True)
    (run / "record.json").write_text(json.dumps(small_record()))
    return ("history", place, "--out", place / "written"), ("report", run), ("compare", run, run)


def _option(text: str, place: Path) -> Commands:
    (place / "record.json").write_text(json.dumps(small_record()))
    options = (("compare", ".", "."), "--metric"), (("history", "."), "--model"), (("ready", "."), "--target")
    command, option = options[len(text) % len(options)]
    os.fsencode(text).index(b"\0") if "\0" in text else None  # no argument has a NUL
    return ((*command, f"{option}={text}"),)


DOORS: dict[str, Callable[[str, Path], Commands]] = {
    "model file": _model,
    "labels": _labels,
    "target": _target,
    "folder": _folder,
    "option": _option,
    "title": _title,
    "student": _recipe,
    **more_doors.DOORS,
}
