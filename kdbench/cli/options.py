"""Options that several commands share, and the reading of values that typer has no type for."""

import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.recipe import Measure

Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
EstimateEnergy = Annotated[
    bool, typer.Option("--estimate-energy", help="Where no meter can be read, estimate energy, and label it so.")
]

# Settings whose option is called otherwise.
_OPTIONS = {"gap_ms": "--gap", "rate_per_s": "--rate", "budget_s": "--budget"}
_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def recipe_names(incomplete: str) -> list[str]:
    """Return the shipped recipes that begin so, for shell completion."""
    from kdbench.recipe.loading import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def seconds(text: str, option: str) -> float:
    """Read a duration such as `20s`, `2m`, `500ms`, `1.5h` or plain seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text)
    if match is None or match[2] not in _SECONDS or float(match[1]) == 0:
        raise InputError(f"{option}: {text!r} is not a duration", "for example 20s, 2m, 500ms or plain seconds")
    return float(match[1]) * _SECONDS[match[2]]


def milliseconds(text: str, option: str) -> int:
    """Read a duration of whole milliseconds, one or more."""
    found = seconds(text, option) * 1000
    whole = round(found)
    if whole < 1 or not math.isclose(found, whole):
        raise InputError(f"{option}: {text!r} is not a whole number of milliseconds", f"for example {option} 5ms")
    return whole


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Read numbers separated by commas, such as `.485,.456,.406`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(map(math.isfinite, values)):
        raise InputError(f"{option}: {text!r} is not a list of numbers", f"for example {option} .485,.456,.406")
    return values


def counts(text: str, option: str) -> tuple[int, ...]:
    """Read counts, each one or more, separated by commas, such as `1,2,4`."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise InputError(f"{option}: {text!r} is not a list of counts", f"for example {option} 1,2,4")
    return tuple(int(part) for part in text.split(","))


def cores(text: str, option: str) -> tuple[int, ...]:
    """Read cores, counted from 0, separated by commas or as ranges, such as `2,3` or `4-7`."""
    known = re.fullmatch(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", text)
    parts = [part.partition("-") for part in text.split(",")] if known else []
    ends = [(int(first), int(last or first)) for first, _, last in parts]
    if not ends or any(first > last for first, last in ends):
        raise InputError(f"{option}: {text!r} is not a list of cores", f"for example {option} 2,3 or {option} 4-7")
    return tuple(core for first, last in ends for core in range(first, last + 1))


def names(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def share(text: str, option: str) -> float:
    """Read a share between 0 and 1, such as `5%` or `0.05`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 0
    if not 0 < value < 1:
        raise InputError(f"{option}: {text!r} is not a share above 0 and below 1", f"for example {option} 5%")
    return value


def make_room(file: Path, option: str) -> None:
    """Make the folder of a file to be written, before the work is done that it is to hold.

    Raises InputError for what is no file, StorageError for a folder that cannot be made or written to.
    """
    from kdbench import storage

    if file.is_dir():
        raise InputError(f"{option}: {str(file)!r} is a folder, not a file", "name the file in it")
    storage.make_folder(file.parent)


def measure_settings(**settings: Any) -> "Measure":
    """Return the settings of a measuring pass; raises InputError where one is not possible."""
    from pydantic import ValidationError

    from kdbench.recipe import Measure

    try:
        return Measure(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        text = first["msg"].removeprefix("Value error, ").replace("Input should", f"{first['input']!r} should")
        for setting, option in _OPTIONS.items():
            text = text.replace(setting, option)
        key = str(first["loc"][0]) if first["loc"] else ""
        name = f"{_OPTIONS.get(key, f'--{key}')}: " if key else ""
        raise InputError(f"{name}{text}", "see kdbench bench --help") from None


def shape(text: str, option: str) -> tuple[int, int, int]:
    """Read the shape of one image such as `3x32x32`: channels × height × width."""
    sizes = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text.lower().replace("×", "x"))
    if sizes is None:
        raise InputError(
            f"{option}: {text!r} is not channels x height x width",
            f"for example {option} 3x32x32, or 1x28x28 for MNIST",
        )
    channels, height, width = map(int, sizes.groups())
    return channels, height, width


def assignments(texts: list[str], option: str, example: str = "width=0.5") -> dict[str, Any]:
    """Read `key=value` pairs; values are TOML, or else plain text."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise InputError(f"{option}: {text!r} is not of the form key=value", f"for example {option} {example}")
        try:
            found[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value
    return found
