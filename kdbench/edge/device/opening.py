"""Opening a bundle on the device: every file is the one that the host packed."""

from __future__ import annotations

from pathlib import Path

from kdbench.edge.exchange.archive import SUMS, sha256
from kdbench.edge.exchange.plan import MANIFEST, Plan, plan_of
from kdbench.errors import InputError

_COPY_AGAIN = "copy the bundle to the device again, and unpack it into a new folder"


def open_bundle(folder: Path) -> tuple[Plan, str]:
    """Return the plan of the bundle in `folder`, with absolute paths, and the bundle's id: its manifest's SHA-256.

    Raises InputError for a file that is missing or another one.
    """
    try:
        listed = (folder / SUMS).read_bytes()
        manifest = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder} holds no readable bundle: {error}", _COPY_AGAIN) from error
    plan = plan_of(manifest, MANIFEST)
    identity = sha256(folder / MANIFEST)
    files = sorted({**plan.files, MANIFEST: identity}.items())
    if listed != "".join(f"{digest}  {name}\n" for name, digest in files).encode():
        raise InputError(f"{SUMS} and {MANIFEST} do not list the same files", _COPY_AGAIN)
    for name, expected in plan.files.items():
        _require(folder, name, expected)
    return plan.within(folder), identity


def _require(folder: Path, name: str, expected: str) -> None:
    file = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(f"{name} is not within the bundle", _COPY_AGAIN)
    try:
        actual = sha256(file)
    except OSError as error:
        raise InputError(f"{name} is missing: {error.strerror or error}", _COPY_AGAIN) from error
    if actual != expected:
        raise InputError(f"{name} is not the file that the host packed", _COPY_AGAIN)
