"""Damaged and impossible input: records, recipes, targets, models, weights, arrays and options.

A trial may end in any exit code but 4. Found is exit 4, a command that does not end, one that takes more than 2 GiB,
and exit 3 without a message. Linux: commands run in forked processes, so that a trial takes its own time only.
"""

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from benchmarks.faults.commands import RECIPE
from benchmarks.faults.forking import forked, load
from benchmarks.faults.material import mutations
from benchmarks.faults.material.models import endless, hostile_model, linear
from benchmarks.faults.material.small_record import small_record
from benchmarks.faults.trial import Ended, Trial
from kdbench.report import FORMATS

Command = Sequence[str | Path]
Kind = Callable[[random.Random, Path], Command]

_RECIPE = RECIPE.replace("epochs = 3", "epochs = 1")
_NETWORK = "import torch\ndef make(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
UNTIMED = ("--no-accuracy", "--no-times", "--out", "out")
_QUICK = ("--budget", "0.1s", "--sessions", "2", "--energy", "off", "--batch", "2")
_TIMED = ("--no-accuracy", *_QUICK, "--out", "out")
_WORKS = "] train "  # a recipe that is possible after all, and takes long
_LONG_S = 120.0  # of a model that does not answer: the process that waits for it ends after 41 s


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Try `count` inputs, of each kind in turn."""
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")
    os.environ["KDBENCH_CACHE"] = str(folder / "cache")
    load()
    *names, last = KINDS
    for number in range(count):
        name = last if number == count - 1 else names[number % len(names)]
        yield one(name, f"{seed}/{number}", folder / str(number))
        shutil.rmtree(folder / str(number), ignore_errors=True)


def one(name: str, seed: str, place: Path) -> Trial:
    """Make an input of one kind in the new folder `place`, run a command on it, and return how it ended."""
    place.mkdir(parents=True)
    command = KINDS[name](random.Random(seed), place)
    limit_s = _LONG_S if name == "endless model" else 60.0
    ended = forked(command, place, limit_s)
    shown = " ".join(str(word)[:60] for word in command).encode("ascii", "backslashreplace").decode()
    return Trial("input", f"{name} {seed}: {shown}", outcome_of(ended), () if is_at_work(ended) else ended.found)


def is_at_work(ended: Ended) -> bool:
    """Return whether a recipe was still training when its time was over."""
    return ended.code is None and _WORKS in ended.errors


def outcome_of(ended: Ended) -> str:
    """Return how a command ended, in a word or two."""
    return "at work" if is_at_work(ended) else ended.outcome


def _record(dice: random.Random, place: Path) -> Command:
    run = place / "run"
    run.mkdir()
    (run / "record.json").write_bytes(mutations.json_text(small_record(), dice))
    if dice.random() < 0.2:
        (run / "samples.npz").write_bytes(mutations.archive(_arrays(), dice))
    commands: tuple[Command, ...] = (
        ("report", run, "--format", dice.choice(FORMATS.names())),
        ("ready", run, "--target", "server-cpu"),
        ("compare", run, run, "--junit", "out.xml"),
        ("history", place),
    )
    return dice.choice(commands)


def _target(dice: random.Random, place: Path) -> Command:
    (place / "record.json").write_text(json.dumps(small_record()))
    text = resources.files("kdbench.judge").joinpath("targets", "server-cpu.toml").read_text(encoding="utf-8")
    (place / "t.toml").write_bytes(mutations.toml_text(text, dice))
    return "ready", place, "--target", place / "t.toml"


def _recipe(dice: random.Random, place: Path) -> Command:
    (place / "r.toml").write_bytes(mutations.toml_text(_RECIPE, dice))
    return "train", "r.toml", "--out", "out"


def _override(dice: random.Random, place: Path) -> Command:
    (place / "r.toml").write_text(_RECIPE)
    return "train", "r.toml", "--out", "out", "--set", f"{dice.choice(_KEYS)}={dice.choice(mutations.TOKENS)}"


def _model(dice: random.Random, place: Path) -> Command:
    (place / "model.onnx").write_bytes(hostile_model(dice))
    commands: tuple[Command, ...] = (
        ("macs", "model.onnx"),
        ("bench", "model.onnx", *UNTIMED),
        ("bench", "model.onnx", *_TIMED),
    )
    return dice.choice(commands)


def _endless(_dice: random.Random, place: Path) -> Command:
    (place / "model.onnx").write_bytes(endless())
    return "bench", "model.onnx", *_TIMED


def _weights(dice: random.Random, place: Path) -> Command:
    (place / "nets.py").write_text(_NETWORK)
    tensors = {"1.weight": np.zeros((10, 64), np.float32), "1.bias": np.zeros(10, np.float32)}
    (place / "w.safetensors").write_bytes(mutations.safetensors(safetensors.numpy.save(tensors), dice))
    return "bench", "--torch", "m=nets:make", "--weights", "m=w.safetensors", *UNTIMED


def _torch_weights(dice: random.Random, place: Path) -> Command:
    (place / "nets.py").write_text(_NETWORK)
    stream, zipped = io.BytesIO(), dice.random() < 0.6
    tensors = {"1.weight": torch.zeros(10, 64), "1.bias": torch.zeros(10)}
    torch.save(tensors, stream, _use_new_zipfile_serialization=zipped)
    content = stream.getvalue()
    (place / "w.pth").write_bytes(_with_damaged_member(content, dice) if zipped else mutations.damaged(content, dice))
    return "bench", "--torch", "m=nets:make", "--weights", "m=w.pth", *UNTIMED


def _program(dice: random.Random, place: Path) -> Command:
    (place / "m.pt2").write_bytes(_with_damaged_member(_exported(), dice))
    return "bench", "m.pt2", *UNTIMED


@cache
def _exported() -> bytes:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    stream = io.BytesIO()
    torch.export.save(torch.export.export(network, (torch.zeros(2, 1, 8, 8),)), stream)
    return stream.getvalue()


def _with_damaged_member(content: bytes, dice: random.Random) -> bytes:
    """Return an archive that torch wrote with one of its parts changed, stored as torch stores it, or its own bytes."""
    if dice.random() < 0.2:
        return mutations.damaged(content, dice)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = dice.choice([name for name in members if members[name]])
    if name.endswith(".json"):
        members[name] = mutations.json_text(json.loads(members[name]), dice)
    else:
        members[name] = mutations.damaged(members[name], dice)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for each, part in members.items():
            archive.writestr(each, part)
    return stream.getvalue()


def _data(dice: random.Random, place: Path) -> Command:
    (place / "m.onnx").write_bytes(linear().SerializeToString())
    (place / "d.npz").write_bytes(mutations.archive(_arrays(), dice))
    return "bench", "m.onnx", "--data", "npz:d.npz", "--no-times", "--out", "out"


def _beside(dice: random.Random, place: Path) -> Command:
    """Return a command on a model with a damaged card, description or list of labels beside it."""
    (place / "m.onnx").write_bytes(linear().SerializeToString())
    card = small_record()["models"][0]
    names = ("m.card.json", "m.toml", "preprocessor_config.json", "config.json", "labels.txt", "labels.json")
    name = dice.choice(names)
    if name.endswith(".toml"):
        content = mutations.toml_text('scale = 255\nmean = [0.5]\nstd = [0.5]\nsize = 8\nlayout = "NCHW"\n', dice)
    elif name == "labels.txt":
        content = mutations.damaged("\n".join(f"class {n}" for n in range(10)).encode(), dice)
    else:
        content = mutations.json_text({"m.card.json": card, "labels.json": ["a"] * 10}.get(name, _PROCESSOR), dice)
    (place / name).write_bytes(content)
    labels = ("--labels", name) if name.startswith("labels") else ()
    return "bench", "m.onnx", *labels, *UNTIMED


def _option(dice: random.Random, place: Path) -> Command:
    (place / "m.onnx").write_bytes(linear().SerializeToString())
    (place / "record.json").write_text(json.dumps(small_record()))
    others = ("1e9s", "-5%", "1,,2", "0-99999", "a=b", "=", "m=", "9" * 400, "\udcff", "*", "1x", "NaN")
    value = dice.choice((*mutations.TOKENS, *others))
    command, options = dice.choice(_OPTIONS)
    ends = UNTIMED if command[0] == "bench" else ()
    return *command, f"--{dice.choice(options)}={value}", *ends


KINDS: dict[str, Kind] = {
    "record": _record,
    "option": _option,
    "target": _target,
    "model": _model,
    "override": _override,
    "beside a model": _beside,
    "weights": _weights,
    "torch weights": _torch_weights,
    "program": _program,
    "recipe": _recipe,
    "data": _data,
}
KINDS["endless model"] = _endless  # last, because it takes a minute

_PROCESSOR = {
    "size": {"height": 8, "width": 8},
    "image_mean": [0.5],
    "image_std": [0.5],
    "rescale_factor": 0.00392,
    "id2label": {"0": "a"},
}
_KEYS = (
    "training.epochs", "training.batch", "training.threads", "training.optimizer.lr", "training.schedule.warmup",
    "training.clip", "training.ema", "training.accumulate", "training.freeze", "training.device", "seeds", "name",
    "title", "data.name", "data.validation", "data.augment.pad", "data.augment", "data.subset.random",
    "data.split_seed", "data.mean", "data.std", "data.resize", "data.crop", "data.layout", "data.label_noise.share",
    "measure.sessions", "measure.batch", "measure.threads", "measure.budget_s", "measure.cores",
    "teacher.0.model.hidden", "teacher.0.model.name", "teacher.0.name", "teacher.0.weights",
    "student.0.model.hidden", "student.0.terms.0.temperature", "student.0.terms.0.kd_weight", "student",
    "student.0.generations", "student.0.sweep", "student.0.quantize", "student.0.start", "student.0.sub_students",
    "plugins", "student.0.terms", "student.\u00b3.name", "student.9.name", "analysis.train_samples", "track", "x",
    "",
)  # fmt: skip
_BENCH = (
    "budget", "precision", "sessions", "threads", "batch", "cores", "gap", "rate", "mode", "runtime", "energy",
    "country", "size", "resize", "crop", "crop-pct", "interpolation", "fill", "colour", "layout", "mean", "std",
    "scale", "input-scale", "input-zero-point", "labels", "torchvision", "output", "data", "teacher", "target",
    "torch", "weights", "provider",
)  # fmt: skip
_OPTIONS: tuple[tuple[Command, tuple[str, ...]], ...] = (
    (("bench", "m.onnx"), _BENCH),
    (("bench", "m.onnx"), _BENCH),
    (("macs", "m.onnx"), ("input", "classes", "convention", "option")),
    (("compare", ".", "."), ("model", "metric", "threshold", "markdown", "junit")),
    (("history", "."), ("model", "metric", "axes", "markdown", "out")),
    (("report", "."), ("format", "style", "out")),
    (("ready", "."), ("target", "model")),
)


def _arrays() -> bytes:
    stream = io.BytesIO()
    x, y = np.zeros((20, 1, 8, 8), np.uint8), np.arange(20) % 10
    np.savez_compressed(stream, x_test=x, y_test=y, x_train=x, y_train=y)
    return stream.getvalue()
