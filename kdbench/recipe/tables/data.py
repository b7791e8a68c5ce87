"""The `[data]` table: the data set, its split, and the training images and labels of a model."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from kdbench.recipe.tables.named import WithOptions
from kdbench.user_input.validation import Value, added_later

# The levels of augmentation, weakest first, as in Stanton et al. 2021.
AUGMENT_LEVELS: dict[str, dict[str, Any]] = {
    "none": {},
    "flip": {"flip": True},
    "crop_flip": {"pad": 4, "flip": True},
    "mixup": {"pad": 4, "flip": True, "mixup": 1.0},
    "cutmix": {"pad": 4, "flip": True, "cutmix": 1.0},
    "mixup_cutmix": {"pad": 4, "flip": True, "mixup": 1.0, "cutmix": 1.0},
}


class Transform(WithOptions):
    """A change of a batch in user code, by import path or registered name; every other key is an option of it."""

    name: str


class Augment(Value):
    """Random changes of training images: zero-pad by `pad` and crop back, flip left-right with chance one half.

    With `views` every image has that many fixed views, one per epoch in turn, so that a teacher evaluates an image only
    that many times. `mixup` and `cutmix` are the parameter of the symmetric Beta distribution of the second image's
    share (0: off); with both, each batch uses one of them. With `views` and no transform, mixed images are fixed views
    too: each image has one mixture in each view. `transform` is user code: a function on whole batches,
    which comes before the other changes.
    """

    pad: int = Field(default=0, ge=0, le=32)
    flip: bool = False
    views: int | None = Field(default=None, gt=0, le=256)
    mixup: float = Field(default=0.0, ge=0, le=1000)
    cutmix: float = Field(default=0.0, ge=0, le=1000)
    transform: Transform | None = added_later(None)

    @field_validator("transform", mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def distinct_views(self) -> int:
        """The number of ways to crop and flip an image."""
        return (2 * self.pad + 1) ** 2 * (2 if self.flip else 1)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with one another."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def mixes_in_slots(self) -> bool:
        """Whether the mixtures of an image are as few as its views, so that they repeat."""
        return self.mixes and self.views is not None and self.transform is None

    @property
    def mixes_every_step(self) -> bool:
        """Whether every step mixes images in new ways."""
        return self.mixes and not self.mixes_in_slots


class Subset(Value):
    """A part of the training images, by one of three rules.

    `first_per_class` is the number of first images of each class in the set's order, `random` the number drawn with
    `seed`, `half` one of two halves (`D0`, `D1`) with equal shares of every class, split with `seed`.
    """

    first_per_class: int | None = Field(default=None, gt=0)
    random: int | None = Field(default=None, gt=0)
    half: Literal["D0", "D1"] | None = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if sum(rule is not None for rule in (self.first_per_class, self.random, self.half)) > 1:
            raise ValueError("subset: choose one of first_per_class, random and half")
        return self


class LabelNoise(Value):
    """Wrong labels among the training images: a `share` of them or a `count`, drawn with `seed`."""

    share: float = Field(default=0.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _share_or_count(self) -> Self:
        if self.share and self.count is not None:
            raise ValueError("label_noise: give share or count, not both")
        return self

    @property
    def flips(self) -> bool:
        """Whether any label is changed."""
        return bool(self.share or self.count)


class TargetNoise(Value):
    """Noise on the training targets of a regression: Gaussian of standard deviation `std`, drawn with `seed`.

    `std` is in the targets' unit, the same for every component; every sample and component has a separate draw.
    """

    std: float = Field(default=0.0, ge=0, le=1e30)
    seed: int = Field(default=0, ge=0)


class Examples(Value):
    """The training examples of one model: images, labels and random changes.

    The validation and the test part are never affected.
    """

    augment: Augment = Augment()
    subset: Subset = Subset()
    label_noise: LabelNoise = LabelNoise()
    target_noise: TargetNoise = added_later(TargetNoise())

    @property
    def without_augmentation(self) -> "Examples":
        """The same images and labels as they are stored."""
        return Examples(subset=self.subset, label_noise=self.label_noise, target_noise=self.target_noise)

    @field_validator("augment", mode="before")
    @classmethod
    def _level(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in AUGMENT_LEVELS:
            raise ValueError(f"augment: unknown level {value!r}; levels: {', '.join(AUGMENT_LEVELS)}")
        return AUGMENT_LEVELS[value]


Layout = Literal["auto", "NCHW", "NHWC", "NCL", "NCDHW", "vectors", "sequences", "tokens"]


class Data(Examples):
    """The data set and its split. `validation` is the share of the training part, by class, used for validation.

    `layout` says what the axes of arrays are; numbers then stay float32. `mean` and `std` are per channel or feature.
    The keys of `Examples` apply to every model whose `data` table does not override them.
    """

    name: str
    root: str | None = None
    download: bool = False
    validation: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    split_seed: int = Field(default=0, ge=0)
    layout: Layout = added_later("auto")
    resize: int | None = Field(default=None, gt=0, le=16_384)
    crop: int | None = Field(default=None, gt=0, le=16_384)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _usable_normalisation(self) -> Self:
        if self.std is not None and min(self.std, default=0) <= 0:
            raise ValueError("std: give one positive value per channel")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}: give one per channel")
        return self
