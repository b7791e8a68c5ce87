"""Data sets by name, and batches of them: one file per family of data sets, which registers its loader in `DATASETS`.

A file may import `recipe`, `registry` and `errors`; torch only inside functions. Nothing here knows a trainer or a
model runtime.
"""

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

    Only `parts` are loaded; class names and normalisation constants do not depend on them. `root` is the folder of
    downloaded sets (default: the environment variable KDBENCH_DATA); nothing is downloaded unless `download` is True.
    `resize` scales the shorter side to that many pixels, then `crop` cuts a centred square.

    Raises InputError for an unknown or unusable set, DataMissingError if its files are missing.
    """
    assert parts, "no part of the data set requested"
    assert set(parts) <= set(PARTS), parts
    for option, pixels in (("resize", resize), ("crop", crop)):
        if pixels is not None and pixels < 1:
            raise InputError(f"data.{option} is {pixels}", "give a number of pixels, 1 or more")
    folder = root or os.environ.get("KDBENCH_DATA")
    request = Request(name, Path(folder).expanduser() if folder else None, download, tuple(parts), resize, crop)
    return DATASETS.get(name)(request).only(parts)
