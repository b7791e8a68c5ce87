"""Options of a measurement, declared once: name, help and parser.

The commands that measure, pytest's `--kdbench-*` and the recipe's `[measure]` table all read these declarations:
`MEASURE` belongs to the fields of `kdbench.recipe.Measure`, `INPUTS` to those of `kdbench.recipe.InputOptions`.
Base layer: loads neither pydantic, typer nor pytest, because pytest reads it in every project.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kdbench import units
from kdbench.characters import shortened
from kdbench.errors import InputError
from kdbench.files import storage

CALIBRATION_COUNT = 256
"""How many training samples ranges are calibrated on by default, in a command and in a recipe."""

_DIGITS = 18  # of a count
_MAX_AXES = 8
_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True)
class Option:
    """One option: `--name METAVAR`, or a flag that sets `flag`.

    `parse` returns the value of a text, or raises ValueError. `default` is the default as a user would type it. An
    option that is `per_model` may be repeated: `MODEL=VALUE` applies to one model, `VALUE` to all whose files do not
    state it.
    """

    name: str
    help: str
    metavar: str = "TEXT"
    parse: Callable[[str], Any] = str
    default: str = ""
    example: str = ""
    flag: bool | None = None
    per_model: bool = False

    @property
    def description(self) -> str:
        """The help text with the default."""
        return f"{self.help} (default: {self.default})." if self.default else f"{self.help}."

    def read(self, text: str, shown: str) -> Any:
        """Return the value of `text`; raises InputError, with `shown` as the option's name, such as `--budget`."""
        try:
            return self.parse(text)
        except (ValueError, OverflowError) as error:
            example = self.example or self.default
            raise InputError(f"{shown}: {error}", f"for example {example}" if example else "") from error


def seconds(text: str) -> float:
    """Read a duration such as `20s`, `2m`, `2min`, `500ms`, `1.5h` or plain seconds."""
    value = units.parse(text, "s")
    if value <= 0:
        raise ValueError(f"{text!r} is not a duration above zero")
    return value


def milliseconds(text: str) -> int:
    """Read a duration of whole milliseconds, one or more; a number without a unit is in seconds."""
    value = seconds(text) * 1000
    rounded = round(value)
    if rounded < 1 or not math.isclose(value, rounded):
        raise ValueError(f"{text!r} is not a whole number of milliseconds")
    return rounded


def share(text: str) -> float:
    """Read a share above 0 and below 1, such as `5%` or `0.05`."""
    value = units.parse(text, "share")
    if not 0 < value < 1:
        raise ValueError(f"{text!r} is not a share above 0 and below 1")
    return value


def number(text: str) -> float:
    """Read a finite number."""
    if "," in text:
        raise _wrong(text, "a number")
    return numbers(text)[0]


def numbers(text: str) -> tuple[float, ...]:
    """Read numbers separated by commas, such as `.485,.456,.406`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(map(math.isfinite, values)):
        raise _wrong(text, "a list of numbers")
    return values


def count(text: str) -> int:
    """Read a count, one or more."""
    if not re.fullmatch(r"\s*[1-9]\d*\s*", text, re.ASCII):
        raise _wrong(text, "a count of one or more")
    if len(text) > _DIGITS:
        raise _wrong(text, "a count in a feasible range")
    return int(text)


def counts(text: str) -> tuple[int, ...]:
    """Read counts, each one or more, separated by commas, such as `1,2,4`."""
    try:
        return tuple(map(count, text.split(",")))
    except ValueError:
        raise _wrong(text, "a list of counts") from None


def cores(text: str) -> tuple[int, ...]:
    """Read cores, counted from 0, separated by commas or as ranges, such as `2,3` or `4-7`."""
    valid = re.fullmatch(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", text)
    parts = [part.partition("-") for part in text.split(",")] if valid else []
    ranges = [(int(first), int(last or first)) for first, _, last in parts]
    if not ranges or any(first > last for first, last in ranges):
        raise _wrong(text, "a list of cores")
    return tuple(core for first, last in ranges for core in range(first, last + 1))


def whole_number(text: str) -> int:
    """Read a whole number, such as `-128`."""
    try:
        return int(text)
    except ValueError:
        raise _wrong(text, "a whole number") from None


def on_or_off(text: str) -> bool:
    """Read `on` or `off`."""
    if text not in {"on", "off"}:
        raise _wrong(text, "on or off")
    return text == "on"


def size(text: str) -> tuple[int, int]:
    """Read a height and width such as `480x640`, or the side of a square."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2:
        raise _wrong(text, "a height and a width")
    return count(sides[0]), count(sides[-1])


def labels(text: str) -> tuple[str, ...]:
    """Read the names of classes from a file: one per line, or a JSON list or object (number to name)."""
    path = storage.with_home(text)
    try:
        content = storage.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{text!r} is not a readable text file: {error}") from None
    if path.suffix != ".json":
        return tuple(line.strip() for line in content.splitlines() if line.strip())
    try:
        return _json_labels(json.loads(content))
    except (ValueError, LookupError, RecursionError):
        raise _wrong(text, "a JSON list of names, or an object of consecutive numbers and their names") from None


def _json_labels(content: Any) -> tuple[str, ...]:
    """Return the names in a list or by their numbers; raises ValueError or LookupError for any other content."""
    names = content
    if isinstance(content, dict):
        by_number = {int(number): name for number, name in content.items()}
        first = min(by_number)
        names = [by_number[first + place] for place in range(len(by_number))]
    if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
        raise ValueError(content)
    return tuple(map(str, names))


def names(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shape(text: str) -> tuple[int, ...]:
    """Read the shape of one sample: `3x32x32`, channels × height × width of an image, or `20x8` of a sequence."""
    sizes = text.lower().replace("×", "x").split("x")
    if len(sizes) > _MAX_AXES or not all(re.fullmatch(r"[1-9]\d{0,8}", size, re.ASCII) for size in sizes):
        raise _wrong(text, "channels x height x width, or the sizes of another kind of sample")
    return tuple(map(int, sizes))


def _wrong(text: str, expected: str) -> ValueError:
    return ValueError(f"{shortened(text, _SHOWN)!r} is not {expected}")


MEASURE: Mapping[str, Option] = {
    "provider": Option("provider", "Execution provider", "[cpu|cuda]", default="cpu"),
    "threads": Option("threads", "Thread counts to measure at", "N,…", counts, "1", "1,2,4"),
    "batch": Option("batch", "Batch sizes above 1 to measure at", "N,…", counts, "128", "8,128"),
    "mode": Option(
        "mode", "How calls follow each other: stream, paced, offline, server", "NAME,…", names, "stream", "stream,paced"
    ),
    "gap_ms": Option("gap", "Idle time before each call in mode paced", "TIME", milliseconds, "5ms"),
    "rate_per_s": Option("rate", "Calls that arrive per second in mode server", "N", count, example="80"),
    "runtime": Option(
        "runtime",
        "What executes the models: onnxruntime, openvino, litert, onnxruntime-web, onnxruntime-web-node, "
        "tflite-micro, torch, torch-compiled",
        "NAME,…",
        names,
        "onnxruntime",
        "onnxruntime,openvino",
    ),
    "cores": Option(
        "cores",
        "Cores that the processes use in turn (default: all cores of one kind)",
        "N,…",
        cores,
        example="2,3 or 4-7",
    ),
    "budget_s": Option(
        "budget", "Maximum time for latency, for all models together: 30s, 2m", "TIME", seconds, "20s", "20s, 2m, 500ms"
    ),
    "precision": Option("precision", "Stop when the intervals of the speed-ups are narrower", "SHARE", share, "5%"),
    "sessions": Option("sessions", "Minimum number of fresh processes per measurement", "N", count, "8"),
    "energy": Option(
        "energy",
        "How to meter energy: off, quick (0.5 s windows) or full (10 s or 100 updates)",
        "[off|quick|full]",
        default="quick",
    ),
    "estimate_energy": Option(
        "estimate-energy", "Without a readable meter, estimate energy, and label it as an estimate", flag=True
    ),
    "country": Option("country", "Country whose electricity mix turns joules into CO₂e, such as DEU", "ISO"),
    "profile": Option("profile", "Also measure where the time goes, layer by layer", flag=True),
    "times": Option("no-times", "Measure scores, sizes and MACs only: no time, memory or energy", flag=False),
}
"""How to measure, by the fields of `kdbench.recipe.Measure`."""


def _input(name: str, text: str, metavar: str, parse: Callable[[str], Any] = str, example: str = "") -> Option:
    return Option(name, text, metavar, parse, example=example, per_model=True)


INPUTS: Mapping[str, Option] = {
    "data": Option("data", "Data set: a name, folder:PATH or npz:PATH", "NAME"),
    "data_root": Option("data-root", "Folder that holds the data sets", "DIR", default="KDBENCH_DATA"),
    "download": Option("download", "Fetch the data set if it is missing", flag=True),
    "accuracy": Option("no-accuracy", "Use synthetic inputs: no data is needed", flag=False),
    "size": _input("size", "Height and width of the input, if the file leaves them open", "N|HxW", size, "224"),
    "resize": _input("resize", "Resize the shorter side of images to this", "N", count, "256"),
    "crop": _input("crop", "Then cut out the centre with this size", "N|HxW", size, "224"),
    "resize_mode": _input("resize-mode", "How images are scaled to the size", "[shorter|squash|letterbox]"),
    "crop_pct": _input("crop-pct", "Share of the scaled image that is cut out of the centre", "SHARE", number, "0.875"),
    "interpolation": _input("interpolation", "How pixels are interpolated (default: bilinear)", "[bilinear|bicubic|…]"),
    "antialias": _input("antialias", "Smooth images that shrink (default: on)", "[on|off]", on_or_off, "off"),
    "fill": _input("fill", "Grey level around the image in mode letterbox (default: 114)", "N", whole_number, "0"),
    "colour": _input("colour", "Colours of the input: images are converted", "[grey|RGB]"),
    "channel_order": _input("channel-order", "Order of the input's channels (default: RGB)", "[RGB|BGR]"),
    "layout": _input("layout", "Layout of the input, if its shape is ambiguous", "[NCHW|NHWC|flat]"),
    "data_layout": _input(
        "data-layout",
        "Axes of arrays that hold no pixels: NCHW, NHWC, NCL, NCDHW, vectors, sequences, tokens",
        "NAME",
        example="sequences",
    ),
    "mean": _input("mean", "Mean per channel, after scaling", "M,…", numbers, ".485,.456,.406"),
    "std": _input("std", "Standard deviation per channel", "S,…", numbers, ".229,.224,.225"),
    "scale": _input("scale", "Divide pixels by this before mean and std (default: 255)", "X", number, "255"),
    "input_scale": _input("input-scale", "Scale of a quantized integer input", "X", number, "0.0186"),
    "input_zero_point": _input("input-zero-point", "Zero point of a quantized integer input", "N", whole_number, "114"),
    "labels": _input("labels", "Names of the classes in the order of the output's values", "FILE", labels),
    "torchvision": _input(
        "torchvision",
        "Name of torchvision weights, whose preprocessing and classes apply",
        "NAME",
        example="ResNet18_Weights.DEFAULT",
    ),
    "output": _input("output", "Name of the output that holds the logits", "NAME"),
}
"""The inputs of the models, by the fields of `kdbench.recipe.InputOptions`."""
