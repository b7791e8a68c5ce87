"""The kind of a model's input according to its graph: pixels, as integers or floats, or quantized values."""

from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.modelfile.facts import ModelFacts
from kdbench.results.preprocessing import GRAPH, InputSpec

GENERAL = "options"  # the source of options for all models
_NORMALISATION = ("scale", "mean", "std")


def with_graph(spec: InputSpec, sources: dict[str, str], facts: ModelFacts, path: Path) -> InputSpec:
    """Return the spec with what follows from the graph of the model at `path`; updates `sources`.

    Raises InputError for an integer input whose normalisation is unknown.
    """
    if facts.input_dtype in {"uint8", "int8"}:
        return _with_integers(spec, sources, facts, path)
    return _with_pixels(spec, sources) if facts.scales_pixels and spec.data_layout is None else spec


def _with_pixels(spec: InputSpec, sources: dict[str, str]) -> InputSpec:
    """Return the spec of a graph that begins with the normalisation of pixels, unless a source of the model defines it.

    A normalisation for all models then applies to the other models only.
    """
    if any(sources.get(key, GENERAL) != GENERAL for key in _NORMALISATION):
        return spec
    for key in _NORMALISATION:
        sources.pop(key, None)
    sources["scale"] = GRAPH
    return spec.model_copy(update={"scale": 1.0, "mean": None, "std": None})


def _with_integers(spec: InputSpec, sources: dict[str, str], facts: ModelFacts, path: Path) -> InputSpec:
    """Return the spec with what follows from an integer input; updates `sources`.

    An integer input takes pixels, unless the file dequantizes it to another range than that of pixels, or a source of
    this model defines a normalisation: then normalised values are quantized. Raises InputError if none is known.
    """
    if spec.input_scale is not None:
        # Steps of 1 are pixels: shares of 255 would all be rounded to 0 or 1.
        as_pixels = spec.input_scale == 1 and not {"scale", "mean", "std"} & sources.keys()
        return spec.model_copy(update={"scale": 1.0}) if as_pixels else spec
    keys = [key for key in _NORMALISATION if key in sources]
    known_for_all_only = all(sources[key] == GENERAL for key in keys)
    quantization, offset = facts.input_quantization, -128 if facts.input_dtype == "int8" else 0
    if known_for_all_only and (quantization is None or _covers_pixels(quantization, offset)):
        for key in keys:
            del sources[key]
        pixels: dict[str, Any] = {"scale": None, "mean": None, "std": None}
        if offset and quantization is not None:
            pixels |= {"scale": 1.0, "input_scale": 1.0, "input_zero_point": offset}
        return spec.model_copy(update=pixels)
    if quantization is None:
        return spec
    if not keys:
        scale, zero_point = quantization
        message = f"{path} dequantizes its {facts.input_dtype} input with scale {scale:g} and zero point {zero_point}"
        hint = (
            "give the normalisation of its pixels: --mean, --std, --scale; --scale 1 --input-scale 1 feeds the pixels"
        )
        raise InputError(f"{message}: these are not pixels", hint)
    return spec.model_copy(update={"input_scale": quantization[0], "input_zero_point": quantization[1]})


def _covers_pixels(quantization: tuple[float, int], offset: int) -> bool:
    """Return whether the smallest and the largest integer stand for the ends of a usual range of pixels."""
    scale, zero_point = quantization
    low, high = scale * (offset - zero_point), scale * (offset + 255 - zero_point)
    ranges = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
    return any(abs(low - a) + abs(high - b) <= 0.02 * (b - a) for a, b in ranges)
