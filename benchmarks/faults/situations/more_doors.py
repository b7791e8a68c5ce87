"""Doors that are not kdbench's own files: the environment, other programs' files, axes, plug-ins, stored verdicts."""

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomli_w
from PIL import Image

from benchmarks.faults.commands import RECIPE
from benchmarks.faults.forking import forked
from benchmarks.faults.material.models import linear
from benchmarks.faults.material.small_record import small_record
from kdbench.report import FORMATS


class Setting(str):
    """A word of a command that sets a variable of its environment: NAME=VALUE."""

    __slots__ = ()


Commands = Sequence[Sequence[str | Path]]
Door = Callable[[str, Path], Commands]

REPORT = ("report", "out", "--format", ",".join(FORMATS.names()))
UNTIMED = ("--no-times", "--energy", "off", "--out", "out")
_VARIABLES = (
    "KDBENCH_CACHE", "KDBENCH_DATA", "KDBENCH_LOCK_DIR", "KDBENCH_SSH", "KDBENCH_DEBUG", "TMPDIR", "HOME", "COLUMNS",
    "TERM", "LANG", "LC_ALL", "FORCE_COLOR", "XDG_CACHE_HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "BROWSER",
    "SLURM_PROCID", "RANK", "MASTER_ADDR", "PYTHONWARNINGS", "MPLCONFIGDIR", "HOSTNAME", "TZ",
)  # fmt: skip
_TEXTS = frozenset({"title", "note", "message", "remedy", "reason", "hint", "text"})


def _untimed_recipe() -> dict[str, object]:
    content = tomllib.loads(RECIPE.replace("epochs = 3", "epochs = 1"))
    return content | {"measure": {"times": False}}


def _model(place: Path) -> Path:
    file = place / "m.onnx"
    file.write_bytes(linear().SerializeToString())
    return file


def _environment(text: str, place: Path) -> Commands:
    if "\0" in text:
        raise ValueError("no variable has a NUL")
    _model(place)
    (place / "record.json").write_text(json.dumps(small_record()))
    variable = _VARIABLES[sum(map(ord, text)) % len(_VARIABLES)]
    setting = Setting(f"{variable}={text}")
    commands = (("bench", "m.onnx", "--no-accuracy", *UNTIMED), ("doctor",), ("history", "."), ("report", "."))
    return [(*command, setting) for command in commands]


def _metadata(text: str, place: Path) -> Commands:
    """Put the text everywhere in a model where a name may be."""
    model = linear()
    model.producer_name = model.doc_string = model.graph.doc_string = text
    model.graph.name = text or "g"
    model.graph.node[0].name = model.graph.node[0].doc_string = text
    model.graph.input[0].name = model.graph.node[0].input[0] = text or "x"
    onnx.helper.set_model_props(model, {"names": json.dumps([text, *map(str, range(1, 10))]), text or "k": text})
    (place / "m.onnx").write_bytes(model.SerializeToString())
    times = ("--profile", "--budget", "0.1s", "--sessions", "2", "--energy", "off", "--out", "out")
    return ("macs", "m.onnx"), ("bench", "m.onnx", "--no-accuracy", *times), REPORT


def _other_programs(text: str, place: Path) -> Commands:
    _model(place)
    labels = {"id2label": {str(number): text + str(number) for number in range(10)}}
    (place / "config.json").write_text(json.dumps(labels))
    (place / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": text, "size": 8}))
    return ("bench", "m.onnx", "--no-accuracy", *UNTIMED), REPORT


def _classes(text: str, place: Path) -> Commands:
    """Give a folder of images a class, and a file, with this name."""
    _model(place)
    for number, name in enumerate([text, *map(str, range(1, 10))]):
        for copy in range(5):
            file = Path(f"{place}/photos/{name}/{'x' if number else text}{copy}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 20 * number + copy, np.uint8)).save(file)
    data = ("--data", "folder:photos", "--colour", "grey", "--resize-mode", "squash")
    return ("bench", "m.onnx", *data, *UNTIMED), REPORT


def _words(text: str, place: Path) -> Commands:
    """Give the text to options and arguments that take names."""
    if "\0" in text:
        raise ValueError("no argument has a NUL")
    _model(place)
    (place / "record.json").write_text(json.dumps(small_record()))
    (place / "r.toml").write_text(tomli_w.dumps(_untimed_recipe()))
    bench = ("bench", "m.onnx", "--no-accuracy", *UNTIMED)
    commands = (
        [(*bench, f"--{option}={text}")]
        for option in ("data", "data-root", "provider", "runtime", "country", "torch", "output", "teacher", "log", "on")
    )
    others: list[Commands] = [
        [("run", text, "--out", "out")],
        [("list", text)],
        [(text,)],
        [("macs", text), ("show", text), ("merge", ".", text), ("bundle", ".", "--target", text)],
        [("merge", ".", "--remove", text), ("history", ".", "--axes", text)],
        [("compress", "m.onnx", "--method", text, "--out", "out")],
        [("init", "new.toml", "--data", text, "--teacher", text, "--student", text), ("run", "new.toml", "--dry-run")],
        [("init", f"a/b/c/{text}.toml", "--data", "digits")],
        [("show", ".", "--style", text), ("report", ".", "--format", text)],
        [("train", "r.toml", "--set", text), ("train", "r.toml", "--set", f"{text}=1")],
        [("bench", "m.onnx", "--no-accuracy", "--no-times", "--energy", "off", "--out", f"out/{text}")],
    ]
    every = [*commands, *others]
    return every[sum(map(ord, text)) % len(every)]


def _recipe_words(text: str, place: Path) -> Commands:
    """Give the text to keys of a recipe that name things."""
    content = _untimed_recipe()
    places: tuple[Callable[[], object], ...] = (
        lambda: content.update(plugins=[f"{text}.py"]),
        lambda: content.update(name=text),
        lambda: content["data"].update(name=text),  # type: ignore[attr-defined]
        lambda: content["teacher"][0].update(name=text) or content["student"][0].update(teacher=text),  # type: ignore[index]
        lambda: content["student"][0]["model"].update(name=text),  # type: ignore[index]
        lambda: content["student"][0].update(terms=[{"method": text}]),  # type: ignore[index]
        lambda: content["teacher"][0].update(weights=text),  # type: ignore[index]
        lambda: content["teacher"][0].update(model={"name": f"{text}:make"}),  # type: ignore[index]
        lambda: content.update(variant=[{"of": text, "method": "int8"}]),
        lambda: content.update({text: text}),
        lambda: content["student"][0].update(sweep={"terms.0.temperature": [1], text: [text, 1]}),  # type: ignore[index]
    )
    places[sum(map(ord, text)) % len(places)]()
    (place / "r.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    if not len(text) % 3:
        Path(f"{place}/{text}.py").write_text("raise ValueError(__file__)\n")
    return ("run", "r.toml", "--out", "out"), REPORT


def _axis(text: str, place: Path) -> Commands:
    if "\0" in text:
        raise ValueError("no argument has a NUL")
    (place / "r.toml").write_text(tomli_w.dumps(_untimed_recipe()))
    axes = (f"data.name={text}", f"{text}=1,2", f"training.batch=32,{text}", f"student.0.name=a,{text}")
    axis = axes[len(text) % len(axes)]
    return ("sweep", "r.toml", "--axis", axis, "--dry-run", "--out", "out"), ("history", "out")


def _verdict(text: str, place: Path) -> Commands:
    """Put the text into a stored verdict, in place of everything there that is said in words."""
    out = place / "out"
    out.mkdir()
    (out / "record.json").write_text(json.dumps(small_record()))
    ended = forked(("ready", "out", "--target", "server-cpu"), place)
    assert ended.code in {0, 1, 2}, ended
    (stored,) = (out / "verdicts").glob("*.json")
    stored.write_text(json.dumps(_visible(json.loads(stored.read_text()), text)))
    return ("show", "out"), REPORT


def _visible(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: text if key in _TEXTS and inner else _visible(inner, text) for key, inner in value.items()}
    return [_visible(inner, text) for inner in value] if isinstance(value, list) else value


DOORS: dict[str, Door] = {
    "environment": _environment,
    "metadata": _metadata,
    "other programs": _other_programs,
    "classes": _classes,
    "words": _words,
    "recipe words": _recipe_words,
    "axis": _axis,
    "verdict": _verdict,
}
