"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 as published, in torchvision's folders, by parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Part, Request, Split
from kdbench.data.reading.images import fit_images
from kdbench.data.reading.published_files import Arrays, IdxFiles, NeededFile, PickledFiles, PublishedFiles, faults
from kdbench.errors import DataMissingError, InputError


@dataclass(frozen=True)
class Published:
    """A published data set: its files, the usual normalisation constants, its citation.

    `grey` are the mean and standard deviation of colour images converted to grey.
    """

    files: PublishedFiles
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    grey: tuple[float, float] | None = None

    def constants(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel, for images with 1 or 3 `channels`."""
        if channels == 1 and self.grey is not None:
            mean, std = self.grey
            return (mean,), (std,)
        repeats = channels // len(self.mean)
        return self.mean * repeats, self.std * repeats


_CIFAR = (
    "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), www.cs.toronto.edu/~kriz/cifar.html"
)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MNIST = Published(
    IdxFiles(
        "MNIST/raw",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        tuple(f"{number} - {name}" for number, name in enumerate(_DIGITS)),
    ),
    (0.1307,),
    (0.3081,),
    "MNIST, Y. LeCun, C. Cortes, C. J. C. Burges, yann.lecun.com/exdb/mnist, CC BY-SA 3.0",
)
_FASHION_MNIST = Published(
    IdxFiles(
        "FashionMNIST/raw",
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    (0.2860,),
    (0.3530,),
    "Fashion-MNIST, H. Xiao, K. Rasul, R. Vollgraf (2017), arXiv:1708.07747, MIT licence",
)
_CIFAR10 = Published(
    PickledFiles(
        "cifar-10-batches-py",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        {
            "train": {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
        },
        meta=("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        labels="labels",
        label_names="label_names",
    ),
    (0.4914, 0.4822, 0.4465),
    (0.2470, 0.2435, 0.2616),
    f"CIFAR-10, {_CIFAR}",
    grey=(0.4809, 0.2392),
)
_CIFAR100 = Published(
    PickledFiles(
        "cifar-100-python",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        {"train": {"train": "16019d7e3df5f24257cddd939b257f8d"}, "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}},
        meta=("meta", "7973b15100ade9c7d40fb424638fde48"),
        labels="fine_labels",
        label_names="fine_label_names",
    ),
    (0.5071, 0.4867, 0.4408),
    (0.2675, 0.2565, 0.2761),
    f"CIFAR-100 (fine labels), {_CIFAR}",
    grey=(0.4875, 0.2506),
)
PUBLISHED = {"mnist": _MNIST, "fashion_mnist": _FASHION_MNIST, "cifar10": _CIFAR10, "cifar100": _CIFAR100}
"""The published sets by name. The MD5s are those of torchvision, www.cs.toronto.edu and github.com/zalandoresearch."""


def load_published(name: str, request: Request) -> Dataset:
    """Load the requested parts; raises DataMissingError naming the files, or InputError for a damaged file."""
    published, root = PUBLISHED[name], _root(request)
    splits: dict[Part, Split] = {}
    class_names: tuple[str, ...] = ()
    for part in request.parts:
        images, labels, class_names = _read(published.files, part, root, request)
        splits[part] = Split(fit_images(images, request.geometry), labels)
    mean, std = published.constants(next(iter(splits.values())).inputs.shape[1])
    return Dataset(request.name, class_names, splits.get("train"), splits.get("test"), mean, std, published.source)


def check_published(name: str, request: Request) -> None:
    """Raise DataMissingError unless the files of the requested parts exist and are the published ones."""
    root = _root(request)
    for part in () if request.download else request.parts:
        needed = PUBLISHED[name].files.needed(part)
        if problems := faults(root, needed):
            raise _missing(part, root, request, needed, problems)


def _root(request: Request) -> Path:
    if request.root is None:
        message = f"the data set {request.name!r} is read from a folder, and no folder is named"
        variables = "the environment variable KDBENCH_DATA, or data.root"
        raise DataMissingError(message, f"set {variables}, to the folder that holds downloaded data sets")
    return request.root


def _missing(part: Part, root: Path, request: Request, needed: Sequence[NeededFile], problems: str) -> DataMissingError:
    folder = f"the folder that holds {Path(needed[0].path).parts[0]}/"
    hint = f"download it with data.download=true, or set KDBENCH_DATA or data.root to {folder}"
    return DataMissingError(f"the {part} part of {request.name} is not in {root}; {problems}", hint)


def _read(files: PublishedFiles, part: Part, root: Path, request: Request) -> Arrays:
    needed, failure = files.needed(part), ""
    if request.download:
        try:
            files.download(root, part)
        except OSError as error:
            failure = str(error)
    try:
        return files.read(root, part)
    except (OSError, ValueError) as error:
        problems = faults(root, needed)
        if not problems:
            hint = f"delete {', '.join(file.path for file in needed)} and get them again with data.download=true"
            raise InputError(f"the {part} part of {request.name} in {root} cannot be read: {error}", hint) from error
        missing = _missing(part, root, request, needed, problems)
        if failure:
            hint = f"check the network, or copy the files into {root}"
            raise DataMissingError(f"{missing.message}; downloading failed: {failure}", hint) from error
        raise missing from None


for _name, _published in PUBLISHED.items():
    _loader = partial(load_published, _name)
    _loader.__doc__ = _published.source  # `kdbench list datasets` shows it
    _loader.check = partial(check_published, _name)  # type: ignore[attr-defined]
    _loader.__module__ = __name__  # so that the loader is not treated as a plug-in's
    DATASETS.register(_name)(_loader)
