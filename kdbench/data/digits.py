"""Scikit-learn's digits: 1,797 grey images of 8 × 8 pixels, which every installation has.

digits              a fifth of each class is the test part: 360 images
digits:test=0.5     half of each class is
"""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Request, Split
from kdbench.data.reading.images import channel_statistics, fit_images
from kdbench.data.reading.name_options import options_in_name
from kdbench.data.selection import stratified
from kdbench.validation import Value

_SEED = 0  # part of the data set's definition: a share gives the same test part in every run
_SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998), "
    "doi:10.24432/C50P49, CC BY 4.0, as shipped with scikit-learn; {share} of each class is the test part; "
    "mean and std computed from the training part"
)
_FILE = "datasets/data/digits.csv.gz"


class Digits(Value):
    """The option of `digits`: the share of each class that is the test part."""

    test: float = Field(default=0.2, gt=0, lt=1)


@DATASETS.register("digits")
@DATASETS.register_pattern(r"digits:[^:=]*=.*", example="digits:test=0.5")
def load_digits(request: Request) -> Dataset:
    """Load the digits. Grey levels 0..16 become round(level · 255 / 16): distinct levels stay distinct."""
    share = options_in_name(request.name, Digits, "digits:test=0.5").test
    levels, labels = read_digits()
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]
    split = Split(fit_images(images, request.geometry), labels)
    training, test = (split.subset(part) for part in stratified(split.labels, share, _SEED))
    mean, std = channel_statistics(training.inputs)
    source = _SOURCE.format(share="one fifth" if share == Digits().test else f"a share of {share:g}")
    return Dataset(request.name, tuple(str(digit) for digit in range(10)), training, test, mean, std, source)


def read_digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the grey levels (1797, 8, 8), 0 to 16, and the labels (1797,) of `sklearn.datasets.load_digits`.

    They come straight from its file where that is in its usual place: importing scikit-learn takes two seconds.
    """
    spec = importlib.util.find_spec("sklearn")
    file = Path(next(iter((spec and spec.submodule_search_locations) or ("",)))) / _FILE
    if not file.is_file():
        from sklearn import datasets

        bunch = datasets.load_digits()
        return bunch.images, bunch.target.astype(np.int64)
    with gzip.open(file, "rt", encoding="ascii") as stream:
        rows = np.loadtxt(stream, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
