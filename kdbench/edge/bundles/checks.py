"""Checks before a bundle is written: whether the device's onnxruntime loads the files, and whether they fit.

The limits of a release come from its own error messages for files that it refuses. The newest wheels for Python 3.9 and
3.10 are 1.19.2 and 1.23.2.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.edge.bundles.tolerances import arithmetic
from kdbench.errors import InputError
from kdbench.judge.target import Target, load_target, shipped_targets
from kdbench.modelfile.graphs.graph import opset
from kdbench.modelfile.graphs.weights import nodes_of
from kdbench.modelfile.reading import read_model
from kdbench.results.records import Diagnostic

Version = tuple[int, ...]

# The highest IR version and opset that each release loads; one in between has those of the release before it.
_RELEASES: dict[Version, tuple[int, int]] = {
    (1, 17): (9, 20),
    (1, 19): (10, 21),
    (1, 22): (10, 22),
    (1, 23): (11, 23),
    (1, 31): (13, 26),
}
_NEWEST_FOR: dict[Version, Version] = {(3, 9): (1, 19, 2), (3, 10): (1, 23, 2)}
_OLDEST_PYTHON = (3, 9)
_STANDARD = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
_MAX_SHOWN = 5
_ONE_VERSION = re.compile(r"[^|\d]*(\d+)\\?\.(\d+)(?:\\?\.(\d+))?(?:\\\.[^|]*|\\b|\$)?")


@dataclass(frozen=True)
class Limits:
    """What the device's onnxruntime loads: the highest IR version and opset; `because` says which release that is."""

    ir: int
    opset: int
    because: str


def limits_of(target: Target, python: str | None = None, onnxruntime: str | None = None) -> Limits | None:
    """Return the limits of a device; None where its onnxruntime may be the newest.

    `python` and `onnxruntime` are versions that the user states; else the target's conditions may name them. Raises
    InputError for a Python for which there is no wheel that runs a bundle.
    """
    required = target.device.libraries.get("onnxruntime", "")
    if (version := _stated(onnxruntime, "onnxruntime") or _required(required)) is not None:
        return _limits(version, f"onnxruntime {_text(version)}")
    version = _stated(python, "Python") or _required(target.device.python or "")
    if version is None:
        return None
    if version[:2] < _OLDEST_PYTHON:
        message = f"Python {_text(version)} is too old: a bundle needs Python {_text(_OLDEST_PYTHON)} or later"
        raise InputError(message, "install a newer Python on the device, with pip and a virtual environment")
    newest = _NEWEST_FOR.get(version[:2])
    because = "" if newest is None else f"onnxruntime {_text(newest)}, the newest for Python {_text(version[:2])}"
    return None if newest is None else _limits(newest, because)


def require_bundled_runtime(target: Target) -> None:
    """Raise InputError for a target whose runtime is not the one that a bundle measures with."""
    if not _runs_bundles(target):
        message = f"{target.description} runs {target.device.runtime}, but a bundle measures with onnxruntime"
        raise InputError(message, f"choose one of {', '.join(bundled_targets())}, or your own .toml file")


def bundled_targets() -> list[str]:
    """Return the names of the shipped targets whose devices run bundles."""
    return [name for name in shipped_targets() if _runs_bundles(load_target(name))]


def _runs_bundles(target: Target) -> bool:
    return target.device.runtime in {None, "onnxruntime"}


def too_new(path: Path, limits: Limits | None) -> str:
    """Return why the device's onnxruntime does not load a file, in words; empty where it does."""
    if limits is None:
        return ""
    model = read_model(path)
    problems = []
    if model.ir_version > limits.ir:
        problems.append(f"IR version {model.ir_version}, and at most {limits.ir} loads")
    if (used := opset(model)) > limits.opset:
        problems.append(f"opset {used}, and at most {limits.opset} loads")
    return f"it has {' and '.join(problems)} in {limits.because}" if problems else ""


def require_operators(path: Path, name: str) -> None:
    """Raise InputError for a model with operators that no onnxruntime of a device has."""
    model = read_model(path)
    local = {(function.domain, function.name) for function in model.functions}
    foreign = {
        f"{node.domain}.{node.op_type}"
        for node in nodes_of(model)
        if node.domain not in _STANDARD and (node.domain, node.op_type) not in local
    }
    if foreign:
        shown = ", ".join(sorted(foreign)[:_MAX_SHOWN])
        message = f"{name} uses operators that the device's onnxruntime does not have: {shown}"
        raise InputError(message, "export it with standard operators, or leave it out with --model")


def cautions(models: Sequence[tuple[str, Path, int]], target: Target) -> Iterator[Diagnostic]:
    """Yield what may go wrong on the device with models (id, file, bytes of memory that one needs)."""
    limit = min((one.value for one in target.limits if one.metric == "peak_memory_bytes"), default=None)
    for id_, path, memory_bytes in models:
        kind = arithmetic(read_model(path))
        if kind == "float16" and target.device.provider != "cuda":
            message = "it is float16, which most CPUs compute in float32, with conversions around each layer"
            remedy = "expect no speed-up from it: its gain is the size of the file"
            yield Diagnostic(code="device_float16", message=message, remedy=remedy, model=id_)
        if kind == "int8":
            message = "its integers are fast only if the processor has instructions that multiply and add 8-bit numbers"
            remedy = "run.py says whether the device does: asimddp or i8mm on ARM, VNNI on x86"
            yield Diagnostic(code="device_int8", message=message, remedy=remedy, model=id_)
        if limit is not None and memory_bytes > limit:
            message = f"a process with it takes about {memory_bytes / 1e6:,.0f} MB, and the target allows "
            message += f"{limit / 1e6:,.0f} MB"
            yield Diagnostic(code="device_memory", message=message, remedy="bundle a smaller model", model=id_)


def require_fit(id_: str, memory_bytes: int, target: Target) -> None:
    """Raise InputError for a model that needs more memory than the target's device has."""
    has = target.device.memory_bytes
    if has is not None and memory_bytes > has:
        needed = f"{id_} needs about {memory_bytes / 1e9:.1f} GB of memory"
        message = f"{needed}, and {target.description} has {has / 1e9:.1f} GB"
        raise InputError(message, "leave it out with --model, or compress it first: kdbench compress")


def _limits(version: Version, because: str) -> Limits | None:
    known = [release for release in _RELEASES if release <= version[:2]]
    if not known:
        raise InputError(f"{because} is too old to measure with", "install onnxruntime 1.17 or later on the device")
    if version[:2] > max(_RELEASES):
        return None  # its limits are not known here: at least those of this machine's onnxruntime
    return Limits(*_RELEASES[max(known)], because)


def _stated(text: str | None, what: str) -> Version | None:
    """Return the version that a user states, if any; raises InputError."""
    if text is None:
        return None
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise InputError(f"{text!r} is not a version of {what}", "write it as 3.9, or 1.19.2")
    return tuple(int(part) for part in match.groups() if part is not None)


def _required(expression: str) -> Version | None:
    """Return the version that a target's regular expression names; None where several versions may match it."""
    match = _ONE_VERSION.fullmatch(expression)
    return None if match is None else tuple(int(part) for part in match.groups() if part is not None)


def _text(version: Version) -> str:
    return ".".join(map(str, version))
