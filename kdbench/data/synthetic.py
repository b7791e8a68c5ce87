"""Synthetic data sets: noisy linear regression, whose true coefficients and best errors are known.

    noisy_linear                                     20 features, 200 training samples, one target, no noise
    noisy_linear:features=50,samples=100,noise=0.5   options, in any order

y = X·β + ε: features are standard normal, coefficients normal with variance 1 / features, so that the variance of a
target is 1 for any number of features; ε is normal with standard deviation `noise`. Every number is a hash of the seed
and its position: for the same seed, more samples, features or targets do not change the others, except for that scale
of β. The test part has no noise, so that a model's test error is its excess risk.
"""

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Inputs, Request, Split
from kdbench.data.reading.name_options import options_in_name
from kdbench.data.selection import key_of, normals
from kdbench.user_input.validation import Value

_FEATURES, _COEFFICIENTS, _NOISE = 0x66656174, 0x636F6566, 0x6E6F6973  # separate keys
_MAX_NUMBERS = 50_000_000


class NoisyLinear(Value):
    """The options of `noisy_linear`: sizes, the noise's standard deviation, and the seed of all random numbers."""

    features: int = Field(default=20, ge=1, le=10_000)
    samples: int = Field(default=200, ge=2, le=10_000_000)
    test: int = Field(default=1000, ge=2, le=10_000_000)
    targets: int = Field(default=1, ge=1, le=10_000)
    noise: float = Field(default=0.0, ge=0, le=1e30)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits_memory(self) -> Self:
        numbers = (self.samples + self.test) * (self.features + self.targets)
        if numbers > _MAX_NUMBERS:
            raise ValueError(f"samples: {numbers:,} numbers; the most are {_MAX_NUMBERS:,}")
        return self


@DATASETS.register_pattern(r"noisy_linear(:.*)?", example="noisy_linear")
def load_noisy_linear(request: Request) -> Dataset:
    """Noisy linear regression: y = X·β + noise; options noisy_linear:features=20,samples=200,targets=1,noise=0."""
    options = read_options(request.name)
    train, test = np.arange(options.samples), options.samples + np.arange(options.test)
    inputs = {part: _inputs(options, numbers) for part, numbers in (("train", train), ("test", test))}
    noise = options.noise * normals(key_of(_NOISE, options.seed), train, options.targets)
    beta = coefficients(options)
    splits = {
        "train": Split(inputs["train"], (inputs["train"] @ beta + noise).astype(np.float32), train),
        "test": Split(inputs["test"], (inputs["test"] @ beta).astype(np.float32), test),
    }
    requested = {part: splits[part] for part in request.parts}
    names = tuple(f"y{number}" for number in range(options.targets)) if options.targets > 1 else ("y",)
    # Features are standard normal by construction: no constants need to be fitted.
    constants = (0.0,) * options.features, (1.0,) * options.features
    source = f"computed: y = X·β + noise of std {options.noise:g}, seed {options.seed}; test without noise"
    return Dataset(request.name, names, requested.get("train"), requested.get("test"), *constants, source)


def coefficients(options: NoisyLinear) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the true coefficients β (features, targets)."""
    rows = np.arange(options.features)
    return normals(key_of(_COEFFICIENTS, options.seed), rows, options.targets) / math.sqrt(options.features)


def read_options(name: str) -> NoisyLinear:
    """Return the options in a data set's name; raises InputError for an unknown one or an invalid value."""
    return options_in_name(name, NoisyLinear, "noisy_linear:features=20,noise=0.5")


def _inputs(options: NoisyLinear, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Inputs:
    features = normals(key_of(_FEATURES, options.seed), numbers, options.features)
    return np.ascontiguousarray(features.astype(np.float32))
