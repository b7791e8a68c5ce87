"""How a model's own files describe its input: one reader per kind of source, in `READERS`.

Sources are in the model file or next to it. A reader returns None if its source does not exist or is about something
else. Keys that it cannot translate stay unknown. It refuses settings without an equivalent in kdbench, so that no
number is silently wrong, unless a more specific source describes them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.modelfile.facts import ModelFacts
from kdbench.modelfile.input_values import input_spec, list_of_names, literal, names_in_order, read_json, read_toml
from kdbench.results.preprocessing import GEOMETRY_KEYS, InputSpec

Reader = Callable[[Path, ModelFacts], InputSpec | None]

_PIL_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's numbers
_SHARED = "models.toml"
_TO_TENSOR = {"scale": 255.0, "channel_order": "RGB"}  # what torchvision's ToTensor makes of Pillow's images
# What values of another type, number or length raise in a reader: the files are other people's.
_WRONG_FORM = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
_SQUASHING = ("DeiT", "Beit")  # image processors for which one number is a square, even if the centre is cut out


class _UntranslatableError(InputError):
    """A source describes the geometry in a way that kdbench cannot follow; `rest` holds its other values."""

    def __init__(self, message: str, hint: str, rest: InputSpec | None) -> None:
        super().__init__(message, hint)
        self.rest = rest


def known_inputs(path: Path, facts: ModelFacts, described: Collection[str] = ()) -> Iterator[tuple[str, InputSpec]]:
    """Yield the values of each source next to or inside the file at `path`, with its name, the most specific first.

    `described` are the keys of `InputSpec` that the model's own options give. Raises InputError for a sidecar with
    mistakes, and for resizing and cropping that kdbench cannot do where nothing more specific describes them.
    """
    geometry_is_known = not GEOMETRY_KEYS.isdisjoint(described)
    for name, reader in READERS.items():
        try:
            spec = reader(path, facts)
        except _UntranslatableError as error:
            if not geometry_is_known:
                raise
            spec = error.rest
        except _WRONG_FORM as error:
            message = f"{path.name}: {name.format(stem=path.stem)} does not describe an input correctly: {error}"
            raise InputError(message, f"correct or remove it, and {_override(path)}") from error
        if spec is not None and spec.known:
            geometry_is_known |= not GEOMETRY_KEYS.isdisjoint(spec.known)
            yield name.format(stem=path.stem), spec


def sidecar_files(path: Path) -> list[Path]:
    """Return the files next to a model that may describe its input, whether they exist or not."""
    names = (f"{path.stem}.toml", _SHARED, "config.json", "preprocessor_config.json")
    return [path.with_name(name) for name in names]


def _sidecar(path: Path, _: ModelFacts) -> InputSpec | None:
    """Read MODEL.toml: the keys of `InputSpec`; None for a recipe of that name."""
    file = path.with_suffix(".toml")
    table = read_toml(file) if file.is_file() else None
    return None if table is None or _is_recipe(table) else input_spec(table, file, file.name)


def _is_recipe(table: Mapping[str, Any]) -> bool:
    """Return whether a table is a recipe, which always has data and a teacher or a student."""
    return isinstance(table.get("data"), dict) and any(key in table for key in ("teacher", "student"))


def _shared_sidecar(path: Path, _: ModelFacts) -> InputSpec | None:
    """Read the table named after the model in models.toml."""
    file = path.with_name(_SHARED)
    table = read_toml(file).get(path.stem) if file.is_file() else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise InputError(f"{file}: {path.stem} is not a table", f"write [{path.stem}] and its keys below it")
    return input_spec(table, file, f"{file}: [{path.stem}]")


def _timm(path: Path, facts: ModelFacts) -> InputSpec | None:
    """Read timm's config.json: `pretrained_cfg`, or its keys at the top level in older files."""
    config = read_json(path.with_name("config.json"))
    cfg = config.get("pretrained_cfg", config)
    if not isinstance(cfg, dict) or not isinstance(cfg.get("input_size"), list):  # of other networks it is a width
        return None
    size, crop_pct = tuple(cfg["input_size"][1:]), cfg.get("crop_pct")
    if "test_input_size" in cfg and facts.sides == tuple(cfg["test_input_size"][1:]):
        size, crop_pct = facts.sides, cfg.get("test_crop_pct", crop_pct)
    mode = cfg.get("crop_mode") or "center"
    values = {
        **_TO_TENSOR,
        "mean": cfg.get("mean"),
        "std": cfg.get("std"),
        "interpolation": cfg.get("interpolation", "bicubic"),
        "labels": cfg.get("label_names") or config.get("label_names"),
    }
    if mode not in {"center", "squash"}:
        message = f"{path.name}: config.json crops in mode {mode!r}, which kdbench does not support"
        hint = _other_geometry(path, facts.sides if facts.sides and None not in facts.sides else size)
        raise _UntranslatableError(message, hint, input_spec(values, path, "config.json"))
    values |= {"size": size, "crop_pct": crop_pct or 0.875, "resize_mode": "squash" if mode == "squash" else "shorter"}
    return input_spec(values, path, "config.json")


def _hugging_face(path: Path, _: ModelFacts) -> InputSpec | None:
    """Read an image processor's preprocessor_config.json."""
    config = read_json(path.with_name("preprocessor_config.json"))
    if not config or "sampling_rate" in config:  # of sounds
        return None
    # MobileViT's flips the channels, never normalizes, and has no key about that.
    normalized = config.get("do_normalize", "do_flip_channel_order" not in config or "image_mean" in config)
    scaled = config.get("do_rescale", True)
    # Without normalisation the mean is 0, not unknown: one that is given for all models does not apply.
    mean, std = (config.get("image_mean"), config.get("image_std")) if normalized else ((0.0,), (1.0,))
    if scaled and config.get("rescale_offset"):  # EfficientNet subtracts 1 after scaling, before the mean
        mean = [1 + value for value in (mean if isinstance(mean, list | tuple) else [mean or 0.0])]
    values: dict[str, Any] = {
        "scale": 1 / config.get("rescale_factor", 1 / 255) if scaled else 1.0,
        "mean": mean,
        "std": std,
        "channel_order": "BGR" if config.get("do_flip_channel_order") else "RGB",
    }
    if "include_top" in config and config["include_top"] and values["std"]:  # EfficientNet divides by std twice
        values["std"] = [std * std for std in values["std"]]
    if (resample := config.get("resample")) is not None:
        values["interpolation"] = _PIL_FILTERS[resample] if isinstance(resample, int) else resample
    values |= _hugging_face_size(config, values.get("interpolation", "bilinear"))
    return input_spec(values, path, "preprocessor_config.json")


def _hugging_face_size(config: Mapping[str, Any], interpolation: str) -> dict[str, Any]:
    """Return how an image processor resizes, to a size or the shorter side, and what it cuts out of the centre."""
    size, crop = config.get("size"), config.get("crop_size")
    centred = crop if config.get("do_center_crop", crop is not None) else None
    if isinstance(centred, dict):
        centred = [centred["height"], centred["width"]]
    if not config.get("do_resize", True):
        return {"crop": centred}
    processor = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    if isinstance(size, int) and centred is not None and not processor.startswith(_SQUASHING):
        size = {"shortest_edge": size}
    if isinstance(size, dict) and "shortest_edge" in size:
        edge = size["shortest_edge"]
        if (share := config.get("crop_pct")) is not None:  # ConvNeXt: squashed from 384 pixels on
            return {"size": edge, "resize_mode": "squash"} if edge >= 384 else {"size": edge, "crop_pct": share}
        return {"resize": int(edge * 256 / 224) if processor.startswith("Levit") else edge, "crop": centred}
    if isinstance(size, dict):
        size = [size["height"], size["width"]]
    if size is None or centred is None:
        return {} if size is None else {"size": size, "resize_mode": "squash"}
    resize, cut = ((side, side) if isinstance(side, int) else tuple(side) for side in (size, centred))
    return {"geometry": {"mode": "squash", "resize": resize, "crop": cut, "interpolation": interpolation}}


def _hugging_face_labels(path: Path, _: ModelFacts) -> InputSpec | None:
    """Read the classes of a model's config.json; LABEL_0, LABEL_1, … are not names."""
    names = read_json(path.with_name("config.json")).get("id2label")
    return None if not isinstance(names, dict) else input_spec({"labels": names_in_order(names)}, path, "config.json")


def _ultralytics(path: Path, facts: ModelFacts) -> InputSpec | None:
    """Read the metadata of Ultralytics' exporter: pixels from 0 to 1, the shorter side scaled, the centre cut out."""
    if "names" not in facts.metadata or "imgsz" not in facts.metadata:
        return None
    names, size = literal(facts.metadata["names"]), literal(facts.metadata["imgsz"])
    values = {"labels": names_in_order(names) if isinstance(names, dict) else names}
    if facts.metadata.get("task", "classify") == "classify":
        values |= {**_TO_TENSOR, "size": size, "resize_mode": "shorter", "mean": (0.0,), "std": (1.0,)}
    return input_spec(values, path, "its metadata")


def _windows(path: Path, facts: ModelFacts) -> InputSpec | None:
    """Read ONNX's properties of images, `Image.BitmapPixelFormat`, `Image.NominalPixelRange` (its MetadataProps.md)."""
    pixel_format = facts.metadata.get("Image.BitmapPixelFormat")
    pixel_range = facts.metadata.get("Image.NominalPixelRange")
    ranges: dict[str, dict[str, Any]] = {
        "NominalRange_0_255": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
        "Normalized_0_1": {"scale": 255.0, "mean": (0.0,), "std": (1.0,)},
        "Normalized_1_1": {"scale": 255.0, "mean": (0.5,), "std": (0.5,)},
        "NominalRange_16_235": {"scale": 255.0, "mean": (-16 / 219,), "std": (1 / 219,)},  # 16 + 219 x / 255
    }
    formats = {"Gray8": {"colour": "grey"}, "Rgb8": {"channel_order": "RGB"}, "Bgr8": {"channel_order": "BGR"}}
    if not {"mean", "std"}.isdisjoint(facts.metadata) and pixel_range != "Normalized_1_1":  # `_plain_metadata` has them
        ranges = {name: {"scale": values["scale"]} for name, values in ranges.items()}
    return input_spec(
        {**ranges.get(pixel_range or "", {}), **formats.get(pixel_format or "", {})}, path, "its metadata"
    )


def _plain_metadata(path: Path, facts: ModelFacts) -> InputSpec | None:
    """Read metadata properties that are called as the keys here, as in onnxruntime's examples."""
    values = {key: literal(facts.metadata[key]) for key in ("mean", "std", "scale") if key in facts.metadata}
    lists = (
        list_of_names(literal(facts.metadata[key])) for key in ("labels", "classes", "names") if key in facts.metadata
    )
    values["labels"] = next((names for names in lists if names), None)
    for key in ("mean", "std"):
        if isinstance(values.get(key), int | float):
            values[key] = (values[key],)
    return input_spec(values, path, "its metadata")


def _classifier(path: Path, facts: ModelFacts) -> InputSpec | None:
    """Read the names of the classes of a classifier of ai.onnx.ml, for an output with a value for each."""
    names = facts.class_names
    fits = any(output.classes == len(names) for output in facts.outputs)
    return input_spec({"labels": names}, path, "its classifier") if names and fits else None


READERS: Mapping[str, Reader] = {
    "{stem}.toml": _sidecar,
    _SHARED: _shared_sidecar,
    "config.json (timm)": _timm,
    "preprocessor_config.json (Hugging Face)": _hugging_face,
    "config.json (Hugging Face)": _hugging_face_labels,
    "its metadata (Ultralytics)": _ultralytics,
    "its metadata (Image.*)": _windows,
    "its metadata": _plain_metadata,
    "its classifier": _classifier,
}
"""The readers by the name of their source, the most specific first."""


def _other_geometry(path: Path, size: Sequence[int | None]) -> str:
    """Return the hint that names a way to resize which a sidecar or options can give a model."""
    height, width = size
    toml, option = (f"{height}", f"{height}") if height == width else (f"[{height}, {width}]", f"{height}x{width}")
    beside = f'resize_mode = "letterbox" and size = {toml} in {path.stem}.toml next to it'
    return (
        f"describe how its images are resized, as closely as you can: {beside}, "
        f"or --resize-mode {path.stem}=letterbox --size {path.stem}={option}"
    )


def _override(path: Path) -> str:
    return f"describe the input in {path.stem}.toml next to the model: see docs/models.md"
