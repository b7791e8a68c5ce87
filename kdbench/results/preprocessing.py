"""How an image becomes a model's input: the information of one source, and the combination of all sources."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kdbench.errors import InputError
from kdbench.user_input.validation import Value

ResizeMode = Literal["shorter", "squash", "letterbox"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Colour = Literal["grey", "RGB"]
ChannelOrder = Literal["RGB", "BGR"]
DataLayout = Literal["NCHW", "NHWC", "NCL", "NCDHW", "vectors", "sequences", "tokens", "array"]
MAX_PIXELS = 65_536
Pixels = Annotated[int, Field(ge=1, le=MAX_PIXELS)]
Positive = Annotated[float, Field(gt=0)]


def _height_and_width(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


Size = Annotated[tuple[Pixels, Pixels], BeforeValidator(_height_and_width)]
"""Height and width in pixels; one number stands for a square."""


def _per_channel(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


PerChannel = Annotated[tuple[float, ...], BeforeValidator(_per_channel)]
"""One value per channel, or one for all of them, which may be a plain number."""


class Geometry(Value):
    """How an image is brought to the size and colours of a model's input.

    Mode `shorter` scales the shorter side to `resize` pixels. `squash` scales to `resize` = (height, width) without
    keeping the proportions; `letterbox` scales until the image fits into them and fills the rest with the grey level
    `fill`. Afterwards `crop` = (height, width) is cut out of the centre. Steps that are None are omitted. Without
    `antialias` only the pixels around each new one count, also when an image shrinks. `colour` None keeps the colours
    of the data.
    """

    mode: ResizeMode = "shorter"
    resize: Pixels | tuple[Pixels, Pixels] | None = None
    crop: tuple[Pixels, Pixels] | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    fill: Annotated[int, Field(ge=0, le=255)] = 114
    colour: Colour | None = None


class Preprocessing(Value):
    """How an image becomes a model's input: its geometry, then `(pixel / scale - mean) / std` per channel.

    `channel_order` is the order of the input's channels. An integer input of a quantized model holds
    `round(x / input_scale) + input_zero_point`; without them it holds the pixels as they are. With a `data_layout` the
    inputs are not pixels but numbers as the data set holds them, read in that layout: `scale` divides them as they are,
    and `mean` and `std` run over the axis `channel_axis`, where axis 0 numbers the samples. Token ids have neither.
    `sources` names the source of each key.
    """

    scale: Positive = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: ChannelOrder = "RGB"
    geometry: Geometry = Geometry()
    input_scale: Positive | None = None
    input_zero_point: int = 0
    data_layout: DataLayout | None = None
    channel_axis: Annotated[int, Field(ge=1)] = 1
    sources: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means but {len(self.std)} standard deviations")
        if any(std <= 0 for std in self.std):
            raise ValueError("a standard deviation must be positive")
        return self

    @property
    def known(self) -> "InputSpec":
        """The preprocessing as a card states it; images that came as they were imply nothing about other images."""
        geometry = None if self.geometry == Geometry(colour=self.geometry.colour) else self.geometry
        is_number = self.data_layout is not None
        return InputSpec(
            scale=self.scale,
            mean=self.mean or None,
            std=self.std or None,
            channel_order=self.channel_order,
            data_layout=self.data_layout,
            channel_axis=self.channel_axis if is_number else None,
            colour=self.geometry.colour,
            geometry=geometry,
            input_scale=self.input_scale,
            input_zero_point=None if self.input_scale is None else self.input_zero_point,
        )


class InputSpec(Value):
    """What one source, such as a sidecar file or an option, defines of a model's input; None is unknown.

    `size` is the input's height and width. With `resize_mode` shorter, `resize` is the length of the shorter side and
    `crop` the size that is cut out; `crop_pct` is the share that is kept of the scaled image. `geometry`, in place of
    these keys, is a card's. `data_layout` says that the inputs are numbers and no pixels. `output` names the output
    that holds the logits, `labels` the classes in the order of its values. The other keys are those of `Preprocessing`
    and `Geometry`. `torchvision` names published weights, whose preprocessing and classes supply the keys that the
    source leaves out.
    """

    scale: Positive | None = None
    mean: PerChannel | None = None
    std: Annotated[tuple[Positive, ...], Field(min_length=1), BeforeValidator(_per_channel)] | None = None
    channel_order: ChannelOrder | None = None
    colour: Colour | None = None
    layout: Literal["NCHW", "NHWC", "flat"] | None = None
    size: Size | None = None
    resize: Pixels | None = None
    crop: Size | None = None
    resize_mode: ResizeMode | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    interpolation: Interpolation | None = None
    antialias: bool | None = None
    fill: Annotated[int, Field(ge=0, le=255)] | None = None
    input_scale: Positive | None = None
    input_zero_point: int | None = None
    geometry: Geometry | None = None
    data_layout: DataLayout | None = None
    channel_axis: Annotated[int, Field(ge=1)] | None = None
    output: str | None = None
    labels: tuple[str, ...] | None = None
    torchvision: str | None = None

    @property
    def known(self) -> dict[str, Any]:
        """The keys that have a value, with their values."""
        return {key: value for key in InputSpec.model_fields if (value := getattr(self, key)) is not None}


GRAPH = "its graph"
"""The source of a scale that follows from the first operations of the graph."""

# A source defines all of these keys or none: parts of two sources' geometries would form an unintended third one.
_TOGETHER = ("size", "resize", "crop", "resize_mode", "crop_pct", "fill", "geometry")
GEOMETRY_KEYS = frozenset(_TOGETHER) - {"fill"}
"""The keys that define how images are resized and cropped."""
_QUANTIZATION = ("input_scale", "input_zero_point")
_NUMBERS = ("data_layout", "channel_axis")


def merged(specs: Sequence[tuple[str, InputSpec]]) -> tuple[InputSpec, dict[str, str]]:
    """Return the value of each key in the first source that defines it, and that source's name.

    `specs` are named sources, the most specific first. Size, resizing and cropping come from one source together.

        merged([("student.toml", InputSpec(mean=(0.5,))), ("options", InputSpec(mean=(0.1,), scale=1.0))])
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, spec in specs:
        for key, value in spec.known.items():
            group = next((group for group in (_TOGETHER, _QUANTIZATION, _NUMBERS) if key in group), (key,))
            if {sources.get(other, name) for other in group} == {name}:
                values[key], sources[key] = value, name
    return InputSpec(**values), sources


def preprocessing_of(
    spec: InputSpec,
    sources: Mapping[str, str],
    declared: tuple[int | None, int | None] | None,
    channels: int | None,
    name: str,
) -> Preprocessing:
    """Return the preprocessing of the model `name` from everything that is known.

    `declared` is the height and width of its input, None where open (None: the input is no image); `channels` the
    number of its channels, if it declares one. Raises InputError for keys that do not fit each other.
    """
    count = len(spec.mean or spec.std or (0.0,))
    mean, std = spec.mean or (0.0,) * count, spec.std or (1.0,) * count
    if len(mean) != len(std):
        hint = "give both one value per channel"
        raise InputError(f"{name}: mean has {len(mean)} values and std {len(std)}", hint)
    return Preprocessing(
        scale=spec.scale or (255.0 if spec.data_layout is None else 1.0),
        mean=mean,
        std=std,
        channel_order=spec.channel_order or "RGB",
        geometry=geometry_of(spec, declared, channels, name),
        input_scale=spec.input_scale,
        input_zero_point=spec.input_zero_point or 0,
        data_layout=spec.data_layout,
        channel_axis=spec.channel_axis or (2 if spec.data_layout == "sequences" else 1),
        sources=dict(sources),
    )


def geometry_of(
    spec: InputSpec, declared: tuple[int | None, int | None] | None, channels: int | None, name: str
) -> Geometry:
    """Return how images are brought to the input of the model `name`; the parameters are `preprocessing_of`'s.

    The size is the known one, or the declared one. Raises InputError where resizing needs a size and none is known, and
    for a known size that the file does not take.
    """
    colour = spec.colour or ("RGB" if channels == 3 else None)  # grey images are repeated, as torchvision reads them
    if spec.geometry is not None:
        return spec.geometry.model_copy(update={"colour": spec.geometry.colour or colour})
    fixed = None if declared is None or None in declared else declared
    if spec.size is not None and declared is not None and not _admits(declared, spec.size):
        shown = "×".join("?" if side is None else str(side) for side in declared)
        hint = "leave size out: the file declares its own"
        raise InputError(f"{name} takes images of {shown}, not of {spec.size[0]}×{spec.size[1]}", hint)
    size: Any = spec.size or fixed
    mode, resize, crop = _resizing(spec, size, name)
    known = spec.known
    details = {key: known[key] for key in ("interpolation", "antialias", "fill") if key in known}
    return Geometry(mode=mode, resize=resize, crop=crop, colour=colour, **details)


def _resizing(spec: InputSpec, size: tuple[int, int] | None, name: str) -> tuple[Any, Any, Any]:
    """Return `mode`, `resize` and `crop` of the `Geometry` for an input of `size`; None: open."""
    mode = spec.resize_mode or "shorter"
    resize: Any = spec.resize
    crop = spec.crop
    if size is None and (mode != "shorter" or spec.crop_pct is not None):
        raise InputError(f"{name} leaves height and width open", "give its size, such as --size 224")
    if size is None:
        return mode, resize, crop
    if mode != "shorter":
        share = spec.crop_pct or 1.0
        resize = tuple(math.floor(side / share) for side in size)
        crop = size if share < 1 else crop
    elif spec.crop_pct is not None:
        resize = resize or math.floor(min(size) / spec.crop_pct)
        crop = crop or size
    elif spec.size is not None or spec.resize_mode is not None:
        resize = resize or min(size)
        crop = crop or size
    return mode, resize, crop


def _admits(declared: tuple[int | None, int | None], size: tuple[int, int]) -> bool:
    return all(d in {None, s} for d, s in zip(declared, size, strict=True))
