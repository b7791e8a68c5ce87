"""The parts that tasks on the nodes of any cluster share: their call, their result, and their files."""

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.installation import __version__
from kdbench.progress import Progress
from kdbench.workflows.sweeping.execution.engine import Message
from kdbench.workflows.sweeping.execution.schedule import Fault

VISIBLE_S = 60.0
"""Seconds until another node's files are seen: NFS caches a folder's content for up to half a minute."""

_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def hide_gpus() -> None:
    """Hide the node's GPUs from this process and from those that it starts."""
    os.environ.update(dict.fromkeys(_GPUS, ""))


def require_version(version: str, host: str, hint: str) -> None:
    """Raise InputError if this node, called `host`, has another version of kdbench than the driver's `version`."""
    if version != __version__:
        message = f"node {host} has kdbench {__version__}, and the sweep was started with {version}"
        raise InputError(message, hint)


def call(perform: str, message: Message, progress: Progress) -> None:
    """Call the function `perform`, "module:name"."""
    module, _, name = perform.partition(":")
    getattr(importlib.import_module(module), name)(message, progress)


def stamps(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return when each of the files `names` below `folder` was written, in nanoseconds; missing files are left out."""
    written_ns = {}
    for name in names:
        try:
            written_ns[name] = (folder / name).stat().st_mtime_ns
        except OSError:
            continue
    return written_ns


def result_of(fault: Fault | None, message: Message) -> dict[str, Any]:
    """Return a task's result as JSON values: why it failed, or when each of its files was written."""
    left = {} if fault is not None else stamps(Path(message["folder"]), message.get("leaves", ()))
    return {"fault": None if fault is None else asdict(fault), "left": left}


def are_visible(left: Mapping[str, int], message: Message) -> bool:
    """Return whether the files of a task's result are visible here, as it wrote them."""
    return stamps(Path(message.get("folder", "")), left) == left


def invisible_files() -> Fault:
    """Return the fault of a task whose files do not become visible."""
    message = f"its files were not seen here within {VISIBLE_S:.0f} s after it wrote them"
    return Fault(message, "choose a folder with --out that all nodes share, and resume")
