"""The `[analysis]` table: what is looked into beside the usual metrics."""

from pydantic import Field

from kdbench.recipe.section import Section


class Analysis(Section):
    """How many training images every model is also run on (0: none), for what is said of train and test."""

    train_samples: int = Field(default=0, ge=0)
