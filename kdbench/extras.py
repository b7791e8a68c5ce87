"""Optional libraries: which extra of the package installs which, and the error if one is missing.

The plain installation works on existing files. pyproject.toml declares the same extras with their versions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from kdbench.errors import InputError


class MissingExtraError(InputError):
    """A library that an extra installs, and that is needed, is not installed."""


@dataclass(frozen=True)
class Extra:
    """What an extra is for, and the distributions it installs by the modules they provide."""

    purpose: str
    libraries: Mapping[str, str]


EXTRAS = {
    "train": Extra(
        "train, export and count networks of torch",
        {
            "torch": "torch",
            "torchvision": "torchvision",
            "lightning_fabric": "lightning-fabric",
            "onnxscript": "onnxscript",
            "onnx_ir": "onnx-ir",
            "fvcore": "fvcore",
            "safetensors": "safetensors",
            "scipy": "scipy",
        },
    ),
    "pytest": Extra("pytest --benchmark", {"pytest": "pytest", "pytest_benchmark": "pytest-benchmark"}),
    "estimate": Extra("--estimate-energy and --country", {"codecarbon": "codecarbon"}),
    "notebook": Extra("numbers as a pandas DataFrame", {"pandas": "pandas"}),
    "gpu": Extra("a GPU's name, memory and energy", {"pynvml": "nvidia-ml-py"}),
    "timm": Extra("timm's networks", {"timm": "timm"}),
    "prune": Extra("pruned students", {"torch_pruning": "torch-pruning"}),
    "search": Extra("kdbench sweep --search", {"optuna": "optuna"}),
    "openvino": Extra("the runtime openvino", {"openvino": "openvino"}),
    "litert": Extra("the runtime litert", {"ai_edge_litert": "ai-edge-litert"}),
    "tflite-micro": Extra("the runtime tflite-micro", {"tflite_micro": "tflite-micro"}),
    "tensorboard": Extra('--log tensorboard, track = ["tensorboard"]', {"tensorboard": "tensorboard"}),
    "wandb": Extra('--log wandb, track = ["wandb"]', {"wandb": "wandb"}),
    "hub": Extra("the report format hub-card", {"huggingface_hub": "huggingface-hub"}),
    "bom": Extra("the report format cyclonedx", {"cyclonedx": "cyclonedx-python-lib"}),
    "mlflow": Extra(
        '--log mlflow, track = ["mlflow"]',
        {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"},
    ),
    "cluster": Extra("sweeps on a Ray cluster", {"ray": "ray"}),
    "slurm": Extra("sweeps as Slurm jobs", {"submitit": "submitit"}),
}


def installer() -> str:
    """Return the command that installs what follows it in this environment, whether or not it is activated."""
    import shlex
    import shutil

    python = Path(sys.executable)
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == python.parent:
        return "pip install"
    # `find_spec` also calls setuptools' finder, which assumes that pip is being imported and removes its own distutils
    # from this process: torch.compile fails afterwards.
    if PathFinder.find_spec("pip") is not None:
        return f"{shlex.quote(str(python))} -m pip install"
    if shutil.which("uv") is not None:  # whose environments have no pip
        return f"uv pip install --python {shlex.quote(str(python))}"
    return "pip install"


def replace(old: str, new: str) -> str:
    """Return the line that uninstalls one distribution and installs another, which has the same files."""
    command = installer()
    uninstaller = command.replace("pip install", "pip uninstall")
    return f"{uninstaller} {'' if command.startswith('uv') else '-y '}{old} && {command} '{new}'"


def onnxruntime_for_cuda() -> str:
    """Return the line that installs the onnxruntime that has CUDA."""
    return replace("onnxruntime", "onnxruntime-gpu[cuda,cudnn]")


def install(*extras: str) -> str:
    """Return the line that installs extras."""
    assert EXTRAS.keys() >= {*extras}, extras
    return f"{installer()} 'kdbench[{','.join(extras)}]'"


def missing(extra: str) -> list[str]:
    """Return the distributions of an extra that are not installed; none is imported."""
    return [name for module, name in EXTRAS[extra].libraries.items() if not _installed(module)]


def require(extra: str, subject: str) -> None:
    """Raise MissingExtraError, with the line that installs it, unless the extra that `subject` needs is installed."""
    require_all([extra], subject)


def require_all(extras: Iterable[str], subject: str) -> None:
    """Raise MissingExtraError, with the one line that installs them, unless all the extras are installed."""
    absent = {extra: names for extra in dict.fromkeys(extras) if (names := missing(extra))}
    if absent:
        raise _error(subject, [name for names in absent.values() for name in names], list(absent))


def missing_extra_error(error: BaseException, subject: str) -> MissingExtraError | None:
    """Return a failed import of an extra's library as an error about `subject`; None for every other error."""
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    for name, extra in EXTRAS.items():
        if module in extra.libraries:
            return _error(subject, missing(name) or [extra.libraries[module]], [name])
    return None


def _installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    spec = find_spec(module)
    return spec is not None and spec.loader is not None  # else a folder of that name, such as wandb/ where wandb ran


def _error(subject: str, absent: Sequence[str], extras: Sequence[str]) -> MissingExtraError:
    are = "is" if len(absent) == 1 else "are"
    return MissingExtraError(f"{subject} needs {', '.join(absent)}, which {are} not installed", install(*extras))
