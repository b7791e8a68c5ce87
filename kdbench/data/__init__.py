"""Data sets by name. One file per family; each registers its loader in `DATASETS`."""

import os
from collections.abc import Sequence
from pathlib import Path

from kdbench.data.dataset import PARTS, Dataset, Loader, Part, Request, Split
from kdbench.errors import InputError
from kdbench.registry import Registry

__all__ = ["DATASETS", "PARTS", "Dataset", "Loader", "Part", "Request", "Split", "load"]

DATASETS: Registry[Loader] = Registry("data set", package="kdbench.data", group="kdbench.datasets")


def load(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = False,
    parts: Sequence[Part] = PARTS,
    resize: int | None = None,
    crop: int | None = None,
) -> Dataset:
    """Load the data set `name` (`folder:PATH` and `npz:PATH` for a user's own) into memory.

    Only `parts` are loaded; class names and normalisation constants do not depend on them. `root` is where
    downloaded sets lie (default: the environment variable KDBENCH_DATA), and nothing is downloaded unless
    `download` says so. `resize` scales the shorter side to that many pixels, then `crop` cuts a centred square.

    Raises InputError for an unknown or unusable set, DataMissingError for one that is not there.
    """
    assert parts, "asked for no part of the data set"
    assert set(parts) <= set(PARTS), parts
    for option, pixels in (("resize", resize), ("crop", crop)):
        if pixels is not None and pixels < 1:
            raise InputError(f"data.{option} is {pixels}", "give a number of pixels, 1 or more")
    place = root or os.environ.get("KDBENCH_DATA")
    request = Request(name, Path(place).expanduser() if place else None, download, tuple(parts), resize, crop)
    return DATASETS.get(name)(request).only(parts)
