"""Scikit-learn's digits: 1,797 grey images of 8 × 8 pixels, which are part of every installation.

digits.npz holds the levels and labels of `sklearn.datasets.load_digits()` as uint8.

digits              a fifth of each class is the test part: 359 images
digits:test=0.5     half of each class is the test part: 901 images, which include those 359
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Request, Split
from kdbench.data.reading.images import channel_statistics, fit_images
from kdbench.data.reading.name_options import options_in_name
from kdbench.data.selection import stratified
from kdbench.user_input.validation import Value

_SEED = 0  # part of the data set's definition: a share gives the same test part in every run
_SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998), "
    "doi:10.24432/C50P49, CC BY 4.0, as shipped with scikit-learn; {share} of each class is the test part; "
    "mean and std computed from the training part"
)
_FILE = Path(__file__).with_name("digits.npz")


class Digits(Value):
    """The option of `digits`: the share of each class that is the test part."""

    test: float = Field(default=0.2, gt=0, lt=1)


@DATASETS.register("digits")
@DATASETS.register_pattern(r"digits:[^:=]*=.*", example="digits:test=0.5")
def load_digits(request: Request) -> Dataset:
    """Load scikit-learn's handwritten digits; grey levels 0..16 become round(level · 255 / 16)."""
    share = options_in_name(request.name, Digits, "digits:test=0.5").test
    levels, labels = read_digits()
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]
    split = Split(fit_images(images, request.geometry), labels)
    training, test = (split.subset(part) for part in stratified(split.labels, share, _SEED))
    mean, std = channel_statistics(training.inputs)
    source = _SOURCE.format(share="one fifth" if share == Digits().test else f"a share of {share:g}")
    return Dataset(request.name, tuple(str(digit) for digit in range(10)), training, test, mean, std, source)


def read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the grey levels (1797, 8, 8), 0 to 16, and the labels (1797,) of `sklearn.datasets.load_digits`."""
    with np.load(_FILE, allow_pickle=False) as arrays:
        return arrays["levels"], arrays["labels"].astype(np.int64)
