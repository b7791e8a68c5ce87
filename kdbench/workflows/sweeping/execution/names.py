"""The values of `--on`: processes of this machine, a Ray cluster by its address, or Slurm. It loads none of them."""

import re

from kdbench.errors import InputError

AUTO = "auto"
LOCAL = ("local", "inline")
SLURM = "slurm"
_ADDRESS = re.compile(r"(?P<scheme>ray://)?(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")


def is_slurm(on: str) -> bool:
    """Return whether `on` names Slurm."""
    return on.partition(":")[0] == SLURM


def address_of(on: str) -> tuple[str, int] | None:
    """Return host and port of a Ray cluster; None for `auto`. Raises InputError for an unknown engine."""
    if on == AUTO:
        return None
    match = _ADDRESS.fullmatch(on)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        known = "local (processes of this machine), auto, HOST:PORT or ray://HOST:PORT (a Ray cluster), slurm"
        raise InputError(f"there is no engine {on!r}", f"known: {known}")
    return match["host"].strip("[]"), int(match["port"])
