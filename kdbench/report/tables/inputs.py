"""How images became the inputs of models that kdbench did not train, and which source each value comes from."""

from kdbench.report.model_groups import ModelGroup, model_groups
from kdbench.report.table import Table, model_table, text_field
from kdbench.results.preprocessing import Geometry, Preprocessing
from kdbench.results.records import RunRecord

_NOTE = "Pixels become (pixel / scale − mean) / std. Without a source: scale 255, mean 0, std 1, images as they are."
_MAX_VALUES = 4


def inputs(record: RunRecord) -> Table:
    """Return how each model's inputs were made; without rows if all values are defaults."""
    known = [group for group in model_groups(record) if _preprocessing(group).sources]
    groups = model_groups(record) if known and record.kind == "bench" else []
    fields = [
        text_field("Images", lambda group: _geometry(_preprocessing(group).geometry)),
        text_field("Pixels", lambda group: _pixels(_preprocessing(group))),
        text_field("Known from", lambda group: _sources(_preprocessing(group))),
    ]
    return model_table("Inputs", groups, fields, [_NOTE])


def _preprocessing(group: ModelGroup) -> Preprocessing:
    return group.cards[0].preprocessing or Preprocessing()


def _geometry(geometry: Geometry) -> str:
    steps = []
    if isinstance(geometry.resize, tuple):
        verb = "fitted into" if geometry.mode == "letterbox" else "squashed to"
        steps.append(f"{verb} {_size(geometry.resize)}")
    elif geometry.resize is not None:
        steps.append(f"shorter side {geometry.resize}")
    if steps:
        steps[-1] += f" ({geometry.interpolation}{'' if geometry.antialias else ', not smoothed'})"
    if geometry.crop is not None:
        steps.append(f"centre {_size(geometry.crop)}")
    if geometry.colour is not None:
        steps.append(geometry.colour)
    return ", ".join(steps) or "as they are"


def _size(sides: tuple[int, int]) -> str:
    return f"{sides[0]}×{sides[1]}"


def _pixels(known: Preprocessing) -> str:
    if known.data_layout == "tokens":
        return "token ids as they are"
    parts = [f"scale {known.scale:g}", f"mean {_numbers(known.mean)}", f"std {_numbers(known.std)}"]
    if known.data_layout is not None:
        parts.insert(0, f"numbers, {known.data_layout}")
    if known.channel_order != "RGB":
        parts.append(known.channel_order)
    if known.input_scale is not None:
        parts.append(f"quantized with scale {known.input_scale:g}, zero point {known.input_zero_point}")
    return ", ".join(parts)


def _numbers(values: tuple[float, ...]) -> str:
    """Return a few values; of many features the first and the last, and how many there are."""
    if len(values) > _MAX_VALUES:
        return f"{values[0]:g} … {values[-1]:g} ({len(values)})"
    return " ".join(f"{value:g}" for value in values)


def _sources(known: Preprocessing) -> str:
    """Return the keys by source; keys without a source have their default."""
    by_source: dict[str, list[str]] = {}
    for key, source in known.sources.items():
        by_source.setdefault(source, []).append(key.replace("_", " "))
    return "; ".join(f"{source}: {', '.join(keys)}" for source, keys in by_source.items()) or "nothing: defaults"
