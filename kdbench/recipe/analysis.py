"""The `[analysis]` table: evaluations beside the usual metrics."""

from typing import Literal

from pydantic import Field

from kdbench.validation import Value


class Analysis(Value):
    """Additional evaluations of the models.

    Each model also runs on about `train_samples` of its training images, the same share of every class (0: none), to
    compare training and test, and on all images whose label was changed. `std` is the standard deviation that
    standardizes logits: of the row as a population, or `unbiased`, as a sample.
    """

    train_samples: int = Field(default=2000, ge=0)
    std: Literal["population", "unbiased"] = "population"
