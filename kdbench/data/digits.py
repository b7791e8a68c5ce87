"""scikit-learn's handwritten digits: 1797 real 8 × 8 images, part of the package, no download."""

import numpy as np

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Request, Split
from kdbench.data.images import channel_statistics, fit_images
from kdbench.data.selection import stratified

_TEST_SHARE = 0.2
_TEST_SEED = 0  # part of the data set's definition: the test part is the same 360 images in every run
_SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998), "
    "doi:10.24432/C50P49, CC BY 4.0, as shipped with scikit-learn; one fifth of each class is the test part; "
    "mean and std computed from the training part"
)


@DATASETS.register("digits")
def load_digits(request: Request) -> Dataset:
    """Load the digits. Grey levels 0..16 become round(level · 255 / 16): distinct levels stay distinct."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    images = fit_images(images, request.resize, request.crop)
    split = Split(images, bunch.target.astype(np.int64))
    training, test = (split.subset(part) for part in stratified(split.labels, _TEST_SHARE, _TEST_SEED))
    mean, std = channel_statistics(training.images)
    return Dataset("digits", tuple(str(digit) for digit in range(10)), training, test, mean, std, _SOURCE)
