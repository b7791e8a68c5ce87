"""The `[analysis]` table: what is looked into beside the usual metrics."""

from typing import Literal

from pydantic import Field

from kdbench.validation import Value


class Analysis(Value):
    """What more is asked of the models.

    Each is also run on about `train_samples` of the images that it was trained on, the same share of every class (0:
    none), for what is said of train and test, and on all those whose label was changed. `std` is the standard deviation
    by which logits are standardized: of the row itself, or of a sample (`unbiased`).
    """

    train_samples: int = Field(default=2000, ge=0)
    std: Literal["population", "unbiased"] = "population"
