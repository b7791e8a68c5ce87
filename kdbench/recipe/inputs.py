"""What models are fed with when they are measured: a data set and its preprocessing, or noise."""

from pydantic import Field, field_validator

from kdbench.validation import Value


class InputOptions(Value):
    """The data to score models on, and how its images become inputs.

    `data` is the name of a set, folder:PATH or npz:PATH. Images are resized and cropped, then `(pixel / scale - mean) /
    std`, per channel; what is None comes from the card beside a model's file, else scale 255, mean 0 and std 1.
    `output` names the output that holds the logits. Without `accuracy` inputs are noise and no data is needed.
    """

    data: str | None = None
    data_root: str | None = None
    download: bool = False
    resize: int | None = Field(default=None, ge=1)
    crop: int | None = Field(default=None, ge=1)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = Field(default=None, gt=0)
    output: str | None = None
    accuracy: bool = True

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (not value or min(value) <= 0):
            raise ValueError("give one positive value per channel")
        return value
