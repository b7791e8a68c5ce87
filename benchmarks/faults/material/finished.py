"""A folder with one of each thing that kdbench leaves on disk and reads again, made by kdbench itself."""

import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.faults.commands import RECIPE
from benchmarks.faults.forking import forked

Command = Sequence[str]

_DONE_S = 600.0
_SHORT = RECIPE.replace("epochs = 3", "epochs = 1").replace('"digits", ', '"digits", subset = { random = 300 }, ')
_SMALL = "\n".join(  # the benches take times
    "measure = { times = false }" if line.startswith("measure") else line for line in _SHORT.splitlines()
)
_UNTIMED = ("--no-times", "--energy", "off")
_IMAGES = ("--data", "folder:photos", "--colour", "grey", "--resize-mode", "squash")
COMMANDS: Mapping[str, Command] = {
    "run": ("run", "r.toml", "--out", "out"),
    "verdict": ("ready", "out", "--target", "server-cpu"),
    "report": ("report", "out", "--format", "md", "--format", "html", "--format", "csv", "--format", "json"),
    "show": ("show", "out"),
    "bench": ("bench", "out/models/student.onnx", "out/models/teacher.onnx", "--data", "npz:d.npz", "--budget", "0.1s",
              "--sessions", "2", "--energy", "off", "--labels", "labels.txt", "--out", "benched"),
    "images": ("bench", "out/models/student.onnx", *_IMAGES, *_UNTIMED, "--out", "pictured"),
    "compress": ("compress", "out/models/student.onnx", "--method", "int8,fp16", "--calibration-count", "20",
                 "--data", "npz:d.npz", "--out", "small"),
    "sweep": ("sweep", "r.toml", "--axis", "training.batch=32,64", "--out", "swept"),
    "bundle": ("bundle", "out", "--data", "digits", "--budget", "0.1s", "--sessions", "2", "--target", "server-cpu",
               "--out", "bundle.zip"),
    "compare": ("compare", "benched", "out", "--markdown", "c.md", "--junit", "c.xml"),
    "history": ("history", "out", "benched", "--out", "past"),
}  # fmt: skip
"""Commands by what they do, in an order in which each finds what it reads."""
MERGE: Command = ("merge", "out", "result.zip", "--name", "board")
AGAIN: Mapping[str, Command] = {
    **COMMANDS,
    "run": (*COMMANDS["run"], "--resume"),
    "sweep": (*COMMANDS["sweep"], "--resume"),
    "bench": (*COMMANDS["bench"][:-1], "benched-again"),
    "images": (*COMMANDS["images"][:-1], "pictured-again"),
    "compress": (*COMMANDS["compress"][:-1], "small-again"),
    "bundle": (*COMMANDS["bundle"][:-1], "bundle-again.zip"),
    "merge": MERGE,
}
"""The same in a folder where all of them are done: each reads what is there."""


def build(place: Path) -> None:
    """Make the inputs in the new folder `place` and run every command but the merge, whose result is there."""
    inputs(place)
    for name, command in COMMANDS.items():
        ended = forked(command, place, _DONE_S)
        assert ended.code in ({0, 1, 2} if name in {"verdict", "compare"} else {0}), (name, ended)
    with zipfile.ZipFile(place / "bundle.zip") as archive:
        archive.extractall(place / "device")
    script = next((place / "device").rglob("run.py"))
    result = ["--out", str(place / "result.zip")]
    subprocess.run([sys.executable, "-P", str(script), *result], cwd=place, check=True, capture_output=True)


def inputs(place: Path) -> None:
    """Write a recipe, arrays, images and names of classes into the new folder `place`."""
    place.mkdir(parents=True)
    (place / "r.toml").write_text(_SMALL)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 1, 8, 8)).astype(np.uint8)
    classes = np.arange(40) % 10
    np.savez(place / "d.npz", x_train=pixels, y_train=classes, x_test=pixels, y_test=classes)
    (place / "labels.txt").write_text("\n".join(map(str, range(10))) + "\n")
    for number, (image, label) in enumerate(zip(pixels, classes, strict=True)):
        file = place / "photos" / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(file)
