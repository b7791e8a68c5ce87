"""Data sets by name, and batches of them: one file per family of data sets, which registers its loader in `DATASETS`.

A file may import `recipe`, `plugins` and the layers below, and torch only inside functions, but no trainer and no model
runtime. `distill`, `workflows` and `cli` import it.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kdbench import plugins
from kdbench.data.dataset import PARTS, Dataset, Loader, Part, Pick, Request, SampleForm, Split
from kdbench.data.reading.scales import require_one_scale
from kdbench.data.reading.signatures import loaded
from kdbench.errors import InputError
from kdbench.files.storage import with_home
from kdbench.registry import Registry
from kdbench.results.preprocessing import MAX_PIXELS, Geometry

__all__ = [
    "DATASETS",
    "PARTS",
    "Dataset",
    "Loader",
    "Part",
    "Pick",
    "Request",
    "SampleForm",
    "Split",
    "check",
    "load",
    "sample_form",
]

DATASETS: Registry[Loader] = Registry(
    "data set", package="kdbench.data", group="kdbench.datasets", imported=plugins.imported
)


def load(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = False,
    parts: Sequence[Part] = PARTS,
    resize: int | None = None,
    crop: int | None = None,
    geometry: Geometry | None = None,
    floats: bool = False,
    layout: str = "auto",
    pick: Pick | None = None,
) -> Dataset:
    """Load the data set `name` into memory: a registered name, `folder:PATH`, `npz:PATH` or a function's import path.

    Only `parts` are loaded; class names and normalisation constants do not depend on them. `root` is the folder of
    downloaded sets (default: the environment variable KDBENCH_DATA); nothing is downloaded unless `download` is True.
    `resize` scales the shorter side to that many pixels, then `crop` cuts a centred square; `geometry` replaces both.
    With `floats`, images stored as floats stay floats; otherwise those from 0 to 1 are rounded to 256 levels, unless a
    `layout` (`kdbench.data.reading.layouts`) defines the axes of the arrays. `pick` selects samples of the training
    part, which keep their numbers; of a folder, only the selected images are opened.

    Raises InputError for an unknown or unusable set, or one whose parts differ in scale, DataMissingError if its files
    are missing.
    """
    assert parts, "no part of the data set requested"
    assert set(parts) <= set(PARTS), parts
    for option, pixels in (("resize", resize), ("crop", crop)):
        if pixels is not None and not 1 <= pixels <= MAX_PIXELS:
            raise InputError(f"data.{option} is {pixels}", f"give a number of pixels from 1 to {MAX_PIXELS:,}")
    geometry = geometry or Geometry(resize=resize, crop=None if crop is None else (crop, crop))
    request = Request(name, _root(root), download, tuple(parts), geometry, floats, layout, pick)
    content = loaded(_loader(name), request)
    if not isinstance(content, Dataset):
        from kdbench.data.reading.arrays import dataset_from_arrays

        content = dataset_from_arrays(content, request)
    dataset: Dataset = content.only(parts)
    if layout != "auto" and dataset.layout != ("NCHW" if layout == "NHWC" else layout):
        message = f"the data set {name!r} holds {dataset.layout}, and data.layout is {layout!r}"
        raise InputError(message, "leave data.layout out: this set has a fixed layout")
    require_one_scale(dataset)
    if pick is None or dataset.train is None:
        return dataset
    return replace(dataset, train=dataset.train.subset(pick(dataset.train.samples)))


def sample_form(name: str) -> SampleForm:
    """Return the form of the samples of `name`, from the headers of a folder's images, else from the test part.

    Raises InputError for an unknown or unusable set, DataMissingError if its files are missing.
    """
    prefix, _, path = name.partition(":")
    if prefix == "folder":
        from kdbench.data.folder import form_of_images

        return form_of_images(with_home(path))
    dataset = load(name, parts=("test",))
    return SampleForm(dataset.input_shape, dataset.outputs)


def check(name: str, *, root: str | Path | None = None, download: bool = False, parts: Sequence[Part] = PARTS) -> None:
    """Raise the error of `load` if a published set's files are missing or damaged, before long work that needs them.

    The attribute `check` of a loader, a function of the request, does this; sets whose loader has none are not checked.
    """
    check_files = getattr(_loader(name), "check", None)
    if check_files is not None:
        check_files(Request(name, _root(root), download, tuple(parts), Geometry()))


def _loader(name: str) -> Loader:
    """Return the loader of a data set; raises InputError for an unknown one."""
    try:
        return DATASETS.get(name)
    except InputError as error:
        prefix = "npz" if name.endswith(".npz") else "folder"
        if ":" in name or (prefix == "folder" and not with_home(name).is_dir()):
            raise
        raise InputError(error.message, f"did you mean {prefix}:{name}?") from error


def _root(root: str | Path | None) -> Path | None:
    folder = root or os.environ.get("KDBENCH_DATA")
    return with_home(folder) if folder else None
