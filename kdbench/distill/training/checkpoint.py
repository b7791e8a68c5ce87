"""The checkpoint of an unfinished training, from which it resumes with bit-identical results."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from kdbench.errors import InputError
from kdbench.files import storage

STATE = "latest.ckpt"
_KEY = "key.json"
_FORMAT = 1


def prepare(folder: Path, key: str) -> bool:
    """Create `folder` for checkpoints of the training `key`; return whether it holds a usable one already.

    Removes checkpoints of another training, and those that this version cannot read: that training starts again.
    """
    if folder.exists():
        if key_of(folder) == key and load(folder / STATE) is not None:
            return True
        shutil.rmtree(folder)
    storage.write_json(storage.make_folder(folder) / _KEY, {"key": key})
    return False


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values; a killed process leaves the old file or the new one."""
    with storage.replacing(path) as temporary:
        torch.save({"format": _FORMAT, "key": key_of(path.parent), **content}, temporary)


def load(path: Path) -> dict[str, Any] | None:
    """Return the content of a checkpoint, on the CPU; None if it is missing, damaged or of another format or training.

    Unpickles no code.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums
            if archive.testzip() is not None:
                return None
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - a damaged file can raise anything, and its training starts again
        return None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return None
    known = key_of(path.parent)
    return content if content.get("key", known) == known else None


def key_of(folder: Path) -> str | None:
    """Return the key of the training whose checkpoints are in `folder`; None if that is not known."""
    try:
        content = storage.read_json(folder / _KEY, "checkpoint key")
    except InputError:
        return None
    key = content.get("key") if isinstance(content, dict) else None
    return key if isinstance(key, str) else None
