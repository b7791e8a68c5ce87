"""Compressed variants of a model file: each is a file, made unless it exists already, and its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.declaring import declare_trained
from kdbench.errors import InputError, about
from kdbench.files import storage
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.facts import read_facts
from kdbench.results.cards import ModelCard, Variant
from kdbench.results.run_folder import card_path
from kdbench.user_input.validation import validated


@dataclass(frozen=True)
class VariantFile:
    """A variant's file and card, and the sizes of the file and of its source; `kept` says that it existed already."""

    path: Path
    card: ModelCard
    kept: bool
    size_bytes: int
    source_bytes: int
    warnings: tuple[str, ...] = ()


def configured_compressor(method: str, settings: Mapping[str, Any] | None = None) -> Compressor:
    """Return a method with settings; raises InputError for unknown names, invalid values and missing libraries."""
    compressor_type = COMPRESSORS.get(method)
    with about(method):
        compressor = validated(
            compressor_type, settings or {}, f"docs/compression.md explains the settings of {method}"
        )
    compressor.require_available()
    return compressor


def make_variant(
    method: str,
    compressor: Compressor,
    source: Source,
    model: BenchModel,
    target: Path,
    *,
    identity: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> VariantFile:
    """Write a variant of `model` and its card to `target`, by `compressor`, which is called `method`.

    `identity` are keys of the card that replace the source's. A file that was made from the same source, by the same
    method, settings, samples and versions is kept. Any other file is an InputError, except with `replace`.
    """
    variant = _described(method, compressor, source, model)
    identity = {"id": target.stem, "name": target.stem, "file": target.name, **(identity or {})}
    kept = _existing_or_none(target, variant) if replace else _existing(target, variant)
    if kept is not None and kept.variant is not None:
        card = _card(variant, Outcome(kept.variant.ranges, kept.variant.facts), model, target, identity)
        if card != kept:
            card.write(card_path(target))
        known_facts = {} if card.variant is None else card.variant.facts
        warnings = compressor.warnings_about(source, target, known_facts)
        return VariantFile(target, card, True, target.stat().st_size, source.facts.size_bytes, warnings)
    with storage.replacing(target) as part:
        outcome = compressor.compress(source, part)
        declare_trained(source.path, part)
        if not replace:
            _existing(target, variant)  # again: another process may have written it meanwhile
        card = _card(variant, outcome, model, part, identity)
        card.write(card_path(target))  # first: a file without a card would count as foreign
    return VariantFile(target, card, False, target.stat().st_size, source.facts.size_bytes, outcome.warnings)


def _described(method: str, compressor: Compressor, source: Source, model: BenchModel) -> Variant:
    """Return what is known of a variant before it is made; its key hashes all that its file depends on."""
    calibration = None if source.calibration is None else source.calibration.known
    variant = Variant(
        of=model.id,
        source_sha256=source.facts.sha256,
        method=method,
        settings=compressor.model_dump(mode="json"),
        calibration=calibration,
        held_out=None if source.held_out is None else source.held_out.known,
        versions=_versions(),
        key="",
    )
    preprocessing = None if calibration is None else model.card.preprocessing
    hashed = {
        **variant.model_dump(mode="json", exclude={"of", "ranges", "facts"}),
        "revision": compressor.revision,
        "preprocessing": None if preprocessing is None else preprocessing.model_dump(mode="json", exclude={"sources"}),
    }
    return variant.model_copy(update={"key": storage.content_hash(hashed)})


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime

    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _existing_or_none(target: Path, variant: Variant) -> ModelCard | None:
    """Return the card of a file that was made the same way; None for any other file, which is replaced."""
    try:
        return _existing(target, variant)
    except InputError:
        return None


def _existing(target: Path, variant: Variant) -> ModelCard | None:
    """Return the card of a file that was made the same way; None if there is no file yet.

    Raises InputError for any other file, so that nothing is overwritten.
    """
    file = card_path(target)
    card = ModelCard.read(file) if file.exists() else None
    hint = "choose another --out or --name, or move it away"
    if card is not None and card.variant is None:
        raise InputError(f"{file} is the card of a model that is not a variant", hint)
    if not target.exists():
        return None
    if card is None or card.variant is None:
        raise InputError(f"{target} exists, but kdbench did not make it by compression", hint)
    if card.sha256 != storage.sha256(target):
        raise InputError(f"{target} was changed after it was made: its card describes another file", hint)
    if card.variant.key == variant.key:
        if card.variant.outcome_sha256 not in {None, _outcome_hash(card.variant)}:
            raise InputError(f"{file} was changed after it was made", hint)
        return card
    old, new = card.variant.model_dump(mode="json"), variant.model_dump(mode="json")
    differences = [text for key, text in _DIFFERENCES.items() if old.get(key) != new.get(key)]
    differing = ", ".join(differences) or "preprocessing or revision of the method"
    raise InputError(f"{target} was made differently ({differing})", hint)


_DIFFERENCES = {
    "source_sha256": "another source file",
    "settings": "other settings",
    "calibration": "other calibration samples",
    "held_out": "other held-out samples",
    "versions": "other versions of onnx or onnxruntime",
}


def _outcome_hash(variant: Variant) -> str:
    return storage.content_hash(variant.model_dump(mode="json", include={"ranges", "facts"}))


def _card(variant: Variant, outcome: Outcome, model: BenchModel, part: Path, identity: dict[str, Any]) -> ModelCard:
    facts = read_facts(part)
    made = variant.model_copy(
        update={"ranges": {name: tuple(ends) for name, ends in outcome.ranges.items()}, "facts": dict(outcome.facts)}
    )
    made = made.model_copy(update={"outcome_sha256": _outcome_hash(made)})
    return ModelCard.model_validate(
        model.card.model_dump()
        | {
            "role": "variant",
            "parents": (model.id,),
            "sha256": facts.sha256,
            # A network's card also counts what export folds: the variant lacks only what the method removed.
            "parameters": model.card.parameters + facts.parameters - model.facts.parameters,
            "opset": facts.opset,
            "variant": made.model_dump(),
        }
        | identity
    )
