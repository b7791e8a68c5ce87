"""What a measuring process is told: plain values that travel as JSON. Imports nothing but the standard library."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

GRAPH_OPTIMIZATION = "ORT_ENABLE_ALL"  # onnxruntime's name of the level


@dataclass(frozen=True)
class Network:
    """Where the network that a file was exported from comes from.

    `builder`, `package.module:function`, is called with `arguments` and `options` and returns a torch module whose
    forward maps (B, C, H, W) to logits; `weights` is the .safetensors file of its own weights, if it has any.
    """

    builder: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class JobModel:
    """A model as a measuring process sees it.

    `shape` is one sample's, in the model's `layout`; `images` the .npy file of uint8 images (N, C, H, W) it is
    given; a pixel becomes `(pixel / scale - mean) / std`, per channel, unless `dtype` is uint8.
    `network` is for runtimes that do not run the file itself.
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
    network: Network | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "JobModel":
        """Read what `to_json` wrote."""
        lists = {key: tuple(value[key]) for key in ("shape", "mean", "std")}
        network = value.get("network")
        return cls(**{**value, **lists, "network": _network(network) if network else None})

    @property
    def preparation(self) -> tuple[object, ...]:
        """What its inputs depend on: models for which this is equal share prepared inputs."""
        return (self.images, self.dtype, self.layout, self.shape, self.scale, self.mean, self.std)


def _network(value: Mapping[str, Any]) -> Network:
    # JSON has made lists of the arguments' tuples.
    return Network(**{**value, "arguments": tuple(tuple(a) if isinstance(a, list) else a for a in value["arguments"])})
