"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 through torchvision, each part on its own.

torchvision requires every file of a set before it reads one. The classes here are torchvision's, narrowed to the files
of the requested part. CIFAR's files are pickles; none is opened before its pinned MD5 is checked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Images, Part, Request, Split
from kdbench.data.reading.images import fit_images
from kdbench.errors import DataMissingError, InputError

# The path of a file of a part, relative to the root, and its MD5, None if torchvision pins none for the unpacked file.
NeededFile = tuple[str, str | None]
# A torchvision data set class, narrowed to one part, and the files that part needs.
Narrowed = tuple[Any, list[NeededFile]]


def narrow_mnist(cls: Any, part: Part) -> Narrowed:
    """Narrow torchvision's MNIST, or a class derived from it, to the IDX files of one part."""
    prefix = {"train": "train", "test": "t10k"}[part]
    resources = [resource for resource in cls.resources if resource[0].startswith(prefix)]
    needed: list[NeededFile] = [(f"{cls.__name__}/raw/{file.removesuffix('.gz')}", None) for file, _ in resources]
    attributes = {
        "resources": resources,
        "_check_exists": lambda self: not faults(Path(self.root), needed),
        "_check_legacy_exist": lambda _: False,  # never the .pt files of old versions, which have no checksum
        "pixels": lambda self: self.data.numpy()[:, None],
    }
    return type(cls.__name__, (cls,), attributes), needed  # torchvision names the folder after the class


def narrow_cifar(cls: Any, part: Part) -> Narrowed:
    """Narrow torchvision's CIFAR-10 or CIFAR-100 to the checked pickles of one part and the class names."""
    files = {"train": cls.train_list, "test": cls.test_list}[part]
    named = [*files, (cls.meta["filename"], cls.meta["md5"])]
    needed: list[NeededFile] = [(f"{cls.base_folder}/{file}", md5) for file, md5 in named]
    methods = {
        "_check_integrity": lambda self: not faults(Path(self.root), needed),
        "pixels": lambda self: np.ascontiguousarray(self.data.transpose(0, 3, 1, 2)),
    }
    return type(cls.__name__, (cls,), methods), needed


def faults(root: Path, needed: list[NeededFile]) -> str:
    """Describe missing and damaged files; empty if all exist and match their MD5."""
    from torchvision.datasets.utils import check_integrity

    missing = [path for path, _ in needed if not (root / path).is_file()]
    damaged = [path for path, md5 in needed if path not in missing and not check_integrity(root / path, md5)]
    problems = (("missing", missing), ("not the published file by its MD5", damaged))
    return "; ".join(f"{what}: {', '.join(paths)}" for what, paths in problems if paths)


@dataclass(frozen=True)
class Published:
    """A published data set: its class in torchvision, the usual normalisation constants, its citation."""

    cls: str
    narrow: Callable[[Any, Part], Narrowed]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


_CIFAR = (
    "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), www.cs.toronto.edu/~kriz/cifar.html"
)
_MNIST = "MNIST, Y. LeCun, C. Cortes, C. J. C. Burges, yann.lecun.com/exdb/mnist, CC BY-SA 3.0"
_FASHION = "Fashion-MNIST, H. Xiao, K. Rasul, R. Vollgraf (2017), arXiv:1708.07747, MIT licence"
_MEAN_10, _STD_10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_MEAN_100, _STD_100 = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
_PUBLISHED = {
    "mnist": Published("MNIST", narrow_mnist, (0.1307,), (0.3081,), _MNIST),
    "fashion_mnist": Published("FashionMNIST", narrow_mnist, (0.2860,), (0.3530,), _FASHION),
    "cifar10": Published("CIFAR10", narrow_cifar, _MEAN_10, _STD_10, f"CIFAR-10, {_CIFAR}"),
    "cifar100": Published("CIFAR100", narrow_cifar, _MEAN_100, _STD_100, f"CIFAR-100 (fine labels), {_CIFAR}"),
}


def load_published(published: Published, request: Request) -> Dataset:
    """Load the requested parts; raises DataMissingError naming the files, or InputError for a damaged file."""
    import torchvision.datasets

    root = request.root
    if root is None:
        message = f"the data set {request.name!r} is read from a folder, and no folder is named"
        variables = "the environment variable KDBENCH_DATA, or data.root"
        raise DataMissingError(message, f"set {variables}, to the folder that holds downloaded data sets")
    cls = getattr(torchvision.datasets, published.cls)
    splits: dict[Part, Split] = {}
    class_names: tuple[str, ...] = ()
    for part in request.parts:
        loaded = _read(cls, part, root, published, request)
        class_names = tuple(loaded.classes)
        images: Images = fit_images(loaded.pixels(), request.geometry)
        splits[part] = Split(images, np.asarray(loaded.targets, dtype=np.int64))
    constants = published.mean, published.std, published.source
    return Dataset(request.name, class_names, splits.get("train"), splits.get("test"), *constants)


def _read(cls: Any, part: Part, root: Path, published: Published, request: Request) -> Any:
    narrowed, needed = published.narrow(cls, part)
    try:
        return narrowed(root, train=part == "train", download=request.download)
    # torchvision has no error class: a missing file is a RuntimeError, a network failure an OSError, and a broken IDX
    # file any error of its parser.
    except (RuntimeError, OSError, ValueError, LookupError, EOFError, AssertionError) as error:
        problems = faults(root, needed)
        if not problems:
            hint = f"delete {', '.join(path for path, _ in needed)} and get them again with data.download=true"
            raise InputError(f"the {part} part of {request.name} in {root} cannot be read: {error}", hint) from error
        message = f"the {part} part of {request.name} is not in {root}; {problems}"
        if request.download:
            hint = f"check the network, or copy the files into {root}"
            raise DataMissingError(f"{message}; downloading failed: {error}", hint) from error
        folder = f"the folder that holds {Path(needed[0][0]).parts[0]}/"
        hint = f"download it with data.download=true, or set KDBENCH_DATA or data.root to {folder}"
        raise DataMissingError(message, hint) from None


for _name, _published in _PUBLISHED.items():
    _loader = partial(load_published, _published)
    _loader.__doc__ = _published.source  # what a list of data sets shows
    DATASETS.register(_name)(_loader)
