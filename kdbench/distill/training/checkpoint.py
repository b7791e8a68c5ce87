"""The checkpoint of an unfinished training, from which it resumes with bit-identical results."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from kdbench import storage

STATE = "latest.ckpt"
_KEY = "key.json"
_FORMAT = 1


def prepare(folder: Path, key: str) -> bool:
    """Create `folder` for checkpoints of the training `key`; return whether it holds a usable one already.

    Removes checkpoints of another training, and those that this version cannot read: that training starts again.
    """
    if folder.exists():
        saved = storage.read_json(folder / _KEY, "checkpoint key") if (folder / _KEY).exists() else {}
        if saved.get("key") == key and load(folder / STATE) is not None:
            return True
        shutil.rmtree(folder)
    storage.write_json(storage.make_folder(folder) / _KEY, {"key": key})
    return False


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values; a killed process leaves the old file or the new one."""
    with storage.replacing(path) as temporary:
        torch.save({"format": _FORMAT, **content}, temporary)


def load(path: Path) -> dict[str, Any] | None:
    """Return the content of a checkpoint, on the CPU; None if there is none of this format. Unpickles no code."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None
    return content if isinstance(content, dict) and content.get("format") == _FORMAT else None
