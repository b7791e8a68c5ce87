"""What a measuring process is told: plain values that travel as JSON. Imports nothing but the standard library."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

GRAPH_OPTIMIZATION = "ORT_ENABLE_ALL"  # onnxruntime's name of the level


@dataclass(frozen=True)
class JobModel:
    """A model as a measuring process sees it.

    `shape` is one sample's, in the model's `layout`; `images` the .npy file of uint8 images (N, C, H, W) it is
    given; a pixel becomes `(pixel / scale - mean) / std`, per channel, unless `dtype` is uint8.
    """

    id: str
    path: str
    input: str
    output: str
    dtype: str
    layout: str
    shape: tuple[int, ...]
    fixed_batch: int | None
    images: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "JobModel":
        """Read what `to_json` wrote."""
        lists = {key: tuple(value[key]) for key in ("shape", "mean", "std")}
        return cls(**{**value, **lists})

    @property
    def preparation(self) -> tuple[object, ...]:
        """What its inputs depend on: models for which this is equal share prepared inputs."""
        return (self.images, self.dtype, self.layout, self.shape, self.scale, self.mean, self.std)
