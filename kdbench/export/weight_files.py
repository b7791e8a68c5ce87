"""Reading the tensors in a file of weights: safetensors, or a file of torch.save, whose Python objects are refused.

A trainer's checkpoint holds several tables of tensors: the network's, those of an average, the optimiser's.
"""

import argparse
import collections
import pathlib
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdbench.errors import InputError, first_line
from kdbench.files import archives
from kdbench.files.nearby import expected_at
from kdbench.machine.loading import require_loadable

StateDict = dict[str, Tensor]

SAVE = "save the weights alone: torch.save(network.state_dict(), 'weights.pth')"
_CUT = "the file may be truncated: copy it again"
_DEEPEST = 5  # tables in tables
_MAX_SHOWN = 5
# Types that trainers save beside the weights: options of the command line, paths, numbers. All hold plain values, and
# reading them runs no code.
_HARMLESS: tuple[Any, ...] = (
    argparse.Namespace,
    (pathlib.PosixPath, "pathlib.PosixPath"),
    (pathlib.PosixPath, "pathlib._local.PosixPath"),  # of Python 3.13
    collections.defaultdict,
    np.dtype,
    *(type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
)


def read_tables(path: Path) -> dict[str, StateDict]:
    """Return the tables of tensors in a file by their keys: "" for the top level, else such as "state.model".

    Raises InputError for a file that is missing, truncated, or holds no tensors by name.
    """
    if not path.is_file():
        hint = expected_at(path, "name a file of weights; a recipe's path is relative to its file", Path.is_file)
        raise InputError(f"no weights at {path}", hint)
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the weights", "fetch them: git lfs pull")
    require_loadable(path, "use a machine with more memory")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds {type(content).__name__}, not a state dict", SAVE)
    tables = dict(_tables(content))
    if not tables:
        keys = f"its keys are {listed(list(map(str, content)))}" if content else "it is empty"
        raise InputError(f"{path} holds no weights: {keys}", SAVE)
    return tables


def listed(names: Sequence[str]) -> str:
    """Return the first names, separated by commas, and how many more there are."""
    more = f", and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more


def _tables(content: Mapping[Any, Any], key: str = "", depth: int = 0) -> Iterator[tuple[str, StateDict]]:
    """Yield the key and the tensors of a table, and then of the tables in it."""
    if tensors := {str(name): value for name, value in content.items() if isinstance(value, Tensor)}:
        yield key, tensors
    for name, value in content.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _tables(value, f"{key}.{name}" if key else str(name), depth + 1)


def _safetensors(path: Path) -> StateDict:
    import safetensors
    import safetensors.torch

    try:
        weights: StateDict = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}", _CUT) from error
    return weights


def _pickled(path: Path) -> Any:
    """Return the tensors and plain values in a file of torch.save; other objects are refused, never unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except archives.archive_errors():  # no archive: a file of an old torch, or a damaged one, which torch reports below
        names = []
    if any(name.endswith("/constants.pkl") for name in names):
        hint = f"in the code that made it, {SAVE}; then --torch pkg.module:factory --weights weights.pth"
        raise InputError(f"{path} is a TorchScript archive, not a state dict", hint)
    if any(name.endswith("/archive_format") for name in names):
        raise InputError(f"{path} is an exported program, not a state dict", "give it as a MODEL: kdbench bench m.pt2")
    try:
        with torch.serialization.safe_globals(list(_HARMLESS)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        if kind is None:
            raise InputError(f"{path} is not a state dict that torch can read", f"{_CUT}, or {SAVE}") from error
        message = f"{path} holds Python objects ({kind[1]}), not weights alone; kdbench does not unpickle them"
        raise InputError(message, f"where it was trained, {SAVE}") from error
    except Exception as error:  # torch raises errors of many types for a damaged pickle
        reason = first_line(error)
        raise InputError(f"{path} is not a state dict that torch can read: {reason}", f"{_CUT}, or {SAVE}") from error
