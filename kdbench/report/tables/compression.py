"""How compressed variants were made, how much of them runs in integers, and which of their layers are noisy.

A method's facts about its file are in the card's `facts`. Cards are untrusted input: facts of other types than those
that kdbench's methods write are omitted.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from kdbench import units
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import ModelGroup, has_metric, model_groups
from kdbench.report.table import DASH, Column, Field, Row, Table, finished, metric_field, model_table, text_field
from kdbench.results.cards import Variant
from kdbench.results.records import Axes, RunRecord

_WORST = 5  # layers of each variant
_MAX_NAMED = 3
_NOTES = {
    "integer_share": "Integer kernels: share of the multiply–accumulates that this machine's CPU computes in integers.",
    "snr_db": "Output: signal-to-noise ratio of the output on calibration samples, relative to the source.",
    "zero_share": "Zeros: share of the weights that are zero. The file is smaller only if compressed, and not faster.",
    "held_out": "Held-out drop: top-1 lost on labelled samples that were not used for calibration, in points.",
}


def compression(record: RunRecord) -> Table:
    """Return how each variant was made (its first seed) and what its method reports; nothing without variants."""
    variants = {group.label: variant for group in model_groups(record) if (variant := group.cards[0].variant)}
    groups = [group for group in model_groups(record) if group.label in variants]

    def fact(key: str) -> bool:
        return any(_number(variant.facts, key) is not None for variant in variants.values())

    def fact_cell(group: ModelGroup, _: Axes, *, key: str) -> Cell:
        value = _number(variants[group.label].facts, key)
        return DASH if value is None else Number(_WRITE[key], value)

    fields = [
        text_field("Made of", lambda group: variants[group.label].of, code=True),
        text_field("Method", lambda group: variants[group.label].method, code=True),
        text_field("Settings", lambda group: _settings(variants[group.label].settings)),
        text_field("Calibrated on", lambda group: _calibration(variants[group.label])),
    ]
    notes = []
    if any("kept_float" in variant.facts for variant in variants.values()):
        fields.append(text_field("In float", lambda group: _float_layers(variants[group.label].facts)))
    if has_metric(record, "integer_share"):
        fields.append(metric_field(record, "integer_share", higher_is_better=None))
        notes.append(_NOTES["integer_share"])
    for key, head in (("snr_db", "Output (dB)"), ("zero_share", "Zeros"), ("held_out", "Held-out drop (points)")):
        if fact(key):
            fields.append(Field(Column(head), partial(fact_cell, key=key)))
            notes.append(_NOTES[key])
    return model_table("Compression", groups, fields, notes)


def noise_by_layer(record: RunRecord) -> Table:
    """Return the noisiest layers of each quantized variant, the worst first (its first seed)."""
    rows = [row for group in model_groups(record) for row in _noisy(group)]
    columns = [Column("Model", numeric=False), Column("Layer", numeric=False), Column("Signal to noise (dB)")]
    note = (
        f"The {_WORST} layers of each variant whose output has most noise, the worst first, on calibration samples: "
        "10·log₁₀(Σx² / Σ(x̂ − x)²) against the source, with the noise of all layers before. The cards have all layers."
    )
    return finished("Noise by layer", columns, rows, [note])


def _noisy(group: ModelGroup) -> Iterator[Row]:
    variant = group.cards[0].variant
    layers = variant.facts.get("layer_snr_db") if variant is not None else None
    if not isinstance(layers, Mapping):
        return
    known = {name: value for name in layers if (value := _number(layers, name)) is not None}
    for name in sorted(known, key=lambda name: known[name])[:_WORST]:
        yield Row((Text(group.label, code=True), Text(str(name), code=True), Number(_decibels, known[name])))


def _number(facts: Mapping[str, Any], key: str) -> float | None:
    """Return a number from a card; the drop of held-out samples is one level deeper."""
    value = facts.get(key)
    if key == "held_out" and isinstance(value, Mapping):
        value = value.get("drop_points")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _decibels(value: float) -> str:
    return units.fixed(value, 1)


_WRITE = {"snr_db": _decibels, "zero_share": units.share, "held_out": units.points}


def _settings(settings: Mapping[str, Any]) -> str:
    """Return settings in words, without those that are off."""
    words = []
    for key, value in settings.items():
        if isinstance(value, list | tuple | Mapping) or value is None or value is False:
            continue  # lists of nodes have a column, or are long
        words.append(key if value is True else f"{key} {value}")
    return ", ".join(words) or "–"


def _calibration(variant: Variant) -> str:
    known = variant.calibration
    return "–" if known is None else f"{units.integer(known.count)} samples of {known.data} (seed {known.seed})"


def _float_layers(facts: Mapping[str, Any]) -> str:
    names = facts.get("kept_float")
    if not isinstance(names, list | tuple) or not names:
        return "–"
    listed = ", ".join(map(str, names[:_MAX_NAMED]))
    return listed + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")
