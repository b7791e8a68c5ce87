"""`folder:PATH`: the user's images, in one sub-folder per class, as torchvision's `ImageFolder` reads them.

Either PATH/train/CLASS/** and PATH/test/CLASS/** (one of the two is enough if only that part is requested; other
folders next to them are ignored), or PATH/CLASS/**, of which a fixed fifth of each class is the test part. Classes are
the sub-folders in alphabetical order, of the training part if there is one; names that are all numbers are ordered as
numbers. A class folder may hold further folders, or nothing.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kdbench.data import DATASETS
from kdbench.data.dataset import PARTS, Dataset, Indices, Labels, Part, Request, SampleForm, Split
from kdbench.data.reading.images import EXTENSIONS, common_form, image_sizes, read_images
from kdbench.data.selection import stratified
from kdbench.errors import DataMissingError, InputError
from kdbench.files.nearby import expected_at
from kdbench.files.storage import with_home
from kdbench.results.preprocessing import Geometry

_TEST_SHARE = 0.2
_TEST_SEED = 0  # fixed, so that the same files always make the same test part
_LARGEST_SQUARE = 224  # pixels, the usual input of networks for photographs
_NAME_OF_PART = re.compile(
    r"(?:.*[\W\d_])?(?:train|training|test|testing|val|valid|validation|dev|eval|holdout)(?:[\W\d_].*)?", re.IGNORECASE
)  # also `seg_train` or `test-images`
_HEADERS = 2048  # of images that are spread over the set, enough for its common form


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of one part and their labels (N,); `skipped` counts other files next to them."""

    paths: tuple[Path, ...]
    labels: Labels
    skipped: int = 0

    def subset(self, indices: Indices) -> "Listing":
        """Return the files at `indices`."""
        return Listing(tuple(self.paths[i] for i in indices), self.labels[indices], self.skipped)


@DATASETS.register_pattern(r"folder:.+", example="folder:PATH")
def load_folder(request: Request) -> Dataset:
    """Load images in one sub-folder per class; only requested parts, and selected training images, are opened."""
    base = with_home(request.name.removeprefix("folder:"))
    class_names, listings = find_images(base, request.parts)
    for part in request.parts:
        if part not in listings:
            raise DataMissingError(f"{base} has no {part} part", f"add {base / part} with one folder per class")
    numbers = {part: np.arange(len(listing.paths)) for part, listing in listings.items()}
    unread: tuple[Path, ...] = ()
    if request.pick is not None and "train" in request.parts:
        unread = listings["train"].paths
        numbers["train"] = np.asarray(request.pick(numbers["train"]))
        listings["train"] = listings["train"].subset(numbers["train"])
    paths = [path for part in request.parts for path in listings[part].paths]
    form = common_form(paths, request.geometry, unread)
    read = partial(read_images, form=form, geometry=request.geometry)
    splits = {part: Split(read(listings[part].paths), listings[part].labels, numbers[part]) for part in request.parts}
    fitted = "; mean and std are fitted to what is trained on" if "train" in splits else ""
    source = f"the user's images in {base}{fitted}"
    skipped = sum(listings[part].skipped for part in request.parts)
    notes = (f"{skipped} files are not images and were left out; {len(paths)} images were read",) if skipped else ()
    return Dataset(request.name, class_names, splits.get("train"), splits.get("test"), (), (), source, notes=notes)


def form_of_images(base: Path) -> SampleForm:
    """Return the form of the images in `base`, from the headers of a sample of them.

    Images of different sizes become squares with the median of their shorter sides, at most 224 pixels.
    Raises InputError as `load_folder`.
    """
    class_names, listings = find_images(base)
    paths = [path for listing in listings.values() for path in listing.paths]
    sample = [paths[i] for i in np.linspace(0, len(paths) - 1, min(len(paths), _HEADERS)).astype(np.int64)]
    sizes = image_sizes(sample)
    square = None if len(set(sizes)) == 1 else min(int(np.median([min(size) for size in sizes])), _LARGEST_SQUARE)
    geometry = Geometry() if square is None else Geometry(resize=square, crop=(square, square))
    form = common_form(sample, geometry)
    return SampleForm((form.channels, form.height, form.width), len(class_names), square)


def find_images(base: Path, wanted: Sequence[Part] = PARTS) -> tuple[tuple[str, ...], dict[Part, Listing]]:
    """Return the class names and the files of each of the `wanted` parts in `base`.

    A part that is not wanted is not read. Raises InputError if `base` is not a data set, or a folder cannot be read.
    """
    try:
        return _found(base, wanted)
    except OSError as error:
        raise InputError(f"{base} cannot be searched for images: {error}", "check its permissions") from error


def _found(base: Path, wanted: Sequence[Part]) -> tuple[tuple[str, ...], dict[Part, Listing]]:
    if not base.is_dir():
        hint = expected_at(base, "name a folder of images after folder:", Path.is_dir)
        raise DataMissingError(f"no folder {base}", hint)
    parts = {part: base / part for part in PARTS if _folders(base / part)}
    if not parts:
        class_names = _class_names(base)
        _require_classes(base, class_names)
        listing = _listing(base, class_names)
        training, test = stratified(listing.labels, _TEST_SHARE, _TEST_SEED)
        if len(test) == 0:
            message = f"{base} is too small: no class has two images"
            raise InputError(message, "a fifth of each class becomes the test part")
        return class_names, {"train": listing.subset(training), "test": listing.subset(test)}
    class_names = _class_names(parts.get("train") or parts["test"])
    return class_names, {part: _listing(folder, class_names) for part, folder in parts.items() if part in wanted}


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_names(folder: Path) -> tuple[str, ...]:
    names = [entry.name for entry in _folders(folder)]
    if not names:
        raise InputError(f"{folder} holds no class folders", "put the images of each class into a folder of its own")
    if all(name.isdecimal() for name in names):  # sorted as text, 10 would come before 2
        names.sort(key=lambda name: (int(name), name))
    return tuple(names)


def _require_classes(base: Path, class_names: tuple[str, ...]) -> None:
    """Raise InputError for folders in `base` that hold folders and no image: they are parts such as `val`, not classes.

    An only folder of this kind is a part; of several ones each has the name of a part, too: a class may have folders.
    """
    folders = [base / name for name in class_names]
    named = len(folders) == 1 or all(map(_NAME_OF_PART.fullmatch, class_names))
    if not named or not all(_folders(folder) and not _holds_images(folder) for folder in folders):
        return
    first, further = folders[0], "in which the images are in further folders"
    if len(folders) == 1:
        hint = f"name folder:{first}; if it is the test part, rename it to {base / 'test'}"
        raise InputError(f"{base} holds one folder, {first.name}, {further}", hint)
    hint = f"rename two of them to {base / 'train'} and {base / 'test'}, or name one of them, such as folder:{first}"
    raise InputError(f"{base} holds the folders {', '.join(class_names)}, {further}", hint)


def _holds_images(folder: Path) -> bool:
    """Return whether there are images in `folder` itself."""
    files = (entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    return any(file.suffix.lower() in EXTENSIONS for file in files)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files anywhere below `folder`, through links too, but not through a link to a parent folder.

    Files and folders whose names begin with a dot are left out. Raises OSError for a folder that cannot be read.
    """
    above: dict[str, frozenset[tuple[int, int]]] = {str(folder): frozenset()}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        here = above.pop(place) | {_identity(Path(place))}
        folders[:] = [name for name in folders if name[0] != "." and _identity(Path(place, name)) not in here]
        above.update({str(Path(place, name)): here for name in folders})
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _listing(folder: Path, class_names: tuple[str, ...]) -> Listing:
    paths: list[Path] = []
    labels: list[int] = []
    skipped = 0
    for class_folder in _folders(folder):
        if class_folder.name not in class_names:
            listed = ", ".join(class_names[:10]) + (" …" if len(class_names) > 10 else "")
            raise InputError(f"{class_folder} is a class that the training part does not have", f"classes: {listed}")
        files = sorted(_files(class_folder))
        images = [file for file in files if file.suffix.lower() in EXTENSIONS]
        skipped += len(files) - len(images)
        paths += images
        labels += [class_names.index(class_folder.name)] * len(images)
    if not paths:
        raise InputError(f"{folder} holds no images", f"known endings: {', '.join(sorted(EXTENSIONS))}")
    return Listing(tuple(paths), np.asarray(labels, dtype=np.int64), skipped)
