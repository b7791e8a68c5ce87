"""The workflow of `kdbench bundle`: a run's models packed for a device, to be measured there."""

import os
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from kdbench.edge.bundles.bundle import SAMPLES, Bundle, Packed, make_bundle, write_bundle
from kdbench.edge.bundles.checks import (
    Limits,
    cautions,
    limits_of,
    require_bundled_runtime,
    require_fit,
    require_operators,
    too_new,
)
from kdbench.edge.bundles.lowering import lowered
from kdbench.edge.bundles.stored_bundles import keep_bundle
from kdbench.edge.exchange.plan import ALL_CORES, Settings
from kdbench.errors import DataMissingError, InputError
from kdbench.files import storage
from kdbench.judge.readiness import candidates
from kdbench.judge.readings import teacher_of
from kdbench.judge.target import Target, load_target, shipped_targets, target_from
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.identity import is_recorded, model_sha256
from kdbench.modelfile.reading import require_model_file
from kdbench.processes import temporary
from kdbench.progress import Progress, Silent
from kdbench.recipe import InputOptions, Measure
from kdbench.recipe.paths import is_relative_data
from kdbench.results.cards import ModelCard, teacher_behind
from kdbench.results.records import Diagnostic, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.user_input import toml_files
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import load_bench_model, require_known_models

_BUDGET_S = 60.0  # of a device, which is slower than a host; at each of two thread counts
_ANY_DEVICE = """name = "any-device"
[[criterion]]
metric = "latency_p50_ns"
max = "1 h"
"""
_MODEL_SUFFIXES = {".onnx", ".ort"}


@dataclass(frozen=True)
class Bundled:
    """The result of `bundle`: the archive `file`, its content, and possible problems on the device."""

    file: Path
    bundle: Bundle
    cautions: tuple[Diagnostic, ...] = ()


def bundle(
    run: str | Path,
    target: str | Path | Target | None,
    *,
    models: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    inputs: InputOptions | None = None,
    options: Mapping[str, Any] | None = None,
    samples: int = SAMPLES,
    python: str | None = None,
    onnxruntime: str | None = None,
    lower: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Bundled:
    """Pack a run's models for the device of `target` (None: any); the default place is RUN/bundles/TARGET.zip.

    `models` are names or ids, by default one seed of each model that the target judges; their reference models are
    packed too. `files` are models that are not in the run's folder. `inputs` overrides the data of the record, and
    `options` are fields of `Measure` for the device. `python` and `onnxruntime` are the device's versions, if the
    target does not name them. Files that are too new for these versions are refused or, with `lower`, converted. Raises
    InputError for a run without its models, a file that the record does not describe, and a model that the device
    cannot run.
    """
    progress, folder = progress or Silent(), RunFolder.of(run)
    record = RunRecord.read(folder.record)
    loaded_target, text = _target(target)
    require_bundled_runtime(loaded_target)
    limits = limits_of(loaded_target, python, onnxruntime)
    cards = _cards_to_pack(record, models)
    located = _located(cards, folder, record, [Path(file) for file in files])
    data_options = inputs or InputOptions()
    recorded = {key: value for key, value in data_of(record).items() if getattr(data_options, key) is None}
    data_options = require_known_models(data_options.model_copy(update=recorded), [card.id for card in cards])
    progress.stage("load", 1, 2)
    images = TestImages(data_options) if data_options.accuracy and data_options.data is not None else None
    loaded = [_load(card, located[card.id], record, data_options, images, recorded) for card in cards]
    settings = settings_for(loaded_target, options or {})
    progress.stage("pack", 2, 2)
    archive = storage.with_home(out) if out is not None else folder.bundles / f"{loaded_target.name}.zip"
    with storage.advising("and copy the run there"):
        storage.make_folder(folder.bundles)  # a part stays there, wherever the archive goes: --out alone does not help
    storage.make_folder(archive.parent)
    with temporary.folder() as work_folder:
        packed = [_packed(model, record, loaded_target, limits, work_folder, lower=lower) for model in loaded]
        packed_bundle = make_bundle(
            packed,
            None if images is None else images.test_set(),
            settings,
            work_folder,
            run=record.title or record.name,
            record=record.hash(),
            target=loaded_target.name,
            target_text=text,
            run_folder=str(folder.path),
            samples=samples,
            progress=progress,
        )
        keep_bundle(packed_bundle, folder)  # first: without it no result of the archive can be merged
        write_bundle(packed_bundle, archive)
        pairs = zip(packed, packed_bundle.plan.models, strict=True)
        needs = [(model.model.id, model.path, planned.memory_bytes) for model, planned in pairs]
        return Bundled(archive, packed_bundle, tuple(cautions(needs, loaded_target)))


def _load(
    card: ModelCard,
    path: Path,
    record: RunRecord,
    inputs: InputOptions,
    images: TestImages | None,
    recorded: Mapping[str, Any],
) -> BenchModel:
    """Return a recorded model in the file `path`; `recorded` is the record's part of `inputs`."""
    require_operators(path, card.id)
    reference = teacher_of(record, card) or card.id
    with explained_data(recorded):
        model, _ = load_bench_model(path, card.id, inputs, reference=reference, images=images, card=card)
    return replace(model, behind=teacher_behind(card, record.cards))


def _packed(
    model: BenchModel, record: RunRecord, target: Target, limits: Limits | None, work_folder: Path, *, lower: bool
) -> Packed:
    """Return a model to pack; raises InputError if the device's onnxruntime cannot load it, or it needs more memory."""
    path, change = model.path, ""
    if problem := too_new(path, limits):
        assert limits is not None
        if not lower:
            hint = f"add --lower to write it for that version, or export it again with opset_version={limits.opset}"
            raise InputError(f"the device does not load {model.id}: {problem}", hint)
        path, change = lowered(path, storage.make_folder(work_folder / f"lowered-{model.id}"), limits)
    memory_bytes = _memory(record, model.card)
    if memory_bytes is not None:
        require_fit(model.id, memory_bytes, target)
    return Packed(model, path, change, memory_bytes)


def _target(target: str | Path | Target | None) -> tuple[Target, str]:
    """Return a target and its TOML text; None is any device."""
    if target is None:
        return target_from(tomllib.loads(_ANY_DEVICE)), _ANY_DEVICE
    if isinstance(target, Target):
        content = target.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        return target, tomli_w.dumps(content)
    text, _ = toml_files.find(os.fspath(target), shipped_targets(), "target")
    return load_target(target), text


def settings_for(target: Target, options: Mapping[str, Any]) -> Settings:
    """Return the settings with which a device measures for a target; `options` are fields of `Measure`.

    By default, thread counts are 1, all cores, and those that limits name; batches are 1 and those that limits name.
    """
    named = {
        axis: [int(value) for limit in target.limits if isinstance(value := limit.axes.get(axis), int)]
        for axis in ("threads", "batch")
    }
    measure = Measure(**{"budget_s": _BUDGET_S, **options})
    threads = measure.threads if "threads" in options else (1, ALL_CORES, *named["threads"])
    batch = measure.batch if "batch" in options else [size for size in named["batch"] if size > 1]
    return Settings(
        threads=tuple(dict.fromkeys(threads)),
        batch=tuple(dict.fromkeys(batch)),
        budget_s=measure.budget_s,
        precision=measure.precision,
        sessions=measure.sessions,
        energy=measure.energy,
        provider=target.device.provider if target.device.provider in {"cpu", "cuda"} else measure.provider,
    )


def _cards_to_pack(record: RunRecord, models: Sequence[str]) -> list[ModelCard]:
    """Return the models to pack: those to judge, after the models that they are compared with."""
    judged = candidates(record, models or None)
    compared = [id_ for card in judged for id_ in (teacher_behind(card, record.cards), teacher_of(record, card))]
    teachers = [record.cards[id_] for id_ in compared if id_ is not None]
    return list({card.id: card for card in (*teachers, *judged)}.values())


def _located(
    cards: Sequence[ModelCard], folder: RunFolder, record: RunRecord, named: Sequence[Path]
) -> dict[str, Path]:
    """Return each model's file by its id, as `locate` does; raises InputError for one of `named` that no model has."""
    for file in named:
        require_model_file(file)
    located = {card.id: locate(card, folder, record, named) for card in cards}
    for file in named:
        _require_described(file, record)
    return located


def locate(card: ModelCard, folder: RunFolder, record: RunRecord, named: Sequence[Path]) -> Path:
    """Return the file with a card's hash: one of `named`, in the run's folder, or at its path in the run's command.

    Raises InputError if there is none, or if it was changed.
    """
    existing = [path for path in _possible_files(card, folder, record, named) if path.is_file()]
    for path in existing:
        if is_recorded(card, path):
            return path
    names = {Path(card.file).name, f"{card.id}.onnx"}
    if (changed := next((path for path in existing if path.name in names), None)) is not None:
        message = f"{changed} is not the file that the record describes"
        raise InputError(message, "measure it again with kdbench bench, or restore the measured file")
    hint = f"name its file: kdbench bundle {shlex.quote(str(folder.path))} {card.id}.onnx …"
    raise InputError(f"the file of {card.id} is not in {folder.path}", hint)


def _require_described(file: Path, record: RunRecord) -> None:
    """Raise InputError for a file that is none of the models of `record`."""
    if {card.sha256 for card in record.models}.isdisjoint({storage.sha256(file), model_sha256(file)}):
        message = f"{file} is none of the models of the run: {', '.join(record.cards)}"
        raise InputError(message, "leave it out, or measure it with them: kdbench bench")


def _possible_files(card: ModelCard, folder: RunFolder, record: RunRecord, named: Sequence[Path]) -> Iterator[Path]:
    yield from named
    yield folder.model(card.id)
    yield folder.path / card.file
    try:
        words = [Path(word) for word in shlex.split(record.command)]
    except ValueError:
        words = []
    yield from (word for word in words if word.suffix in _MODEL_SUFFIXES and word.name == Path(card.file).name)


def data_of(record: RunRecord) -> dict[str, Any]:
    """Return the fields of `InputOptions` with which a record's data was loaded; empty without data."""
    data = (record.recipe or {}).get("data", {})
    name = data.get("name") or record.protocol.get("data")
    return {"data": name, "resize": data.get("resize"), "crop": data.get("crop")} if name else {}


@contextmanager
def explained_data(recorded: Mapping[str, Any]) -> Iterator[None]:
    """Add to an error about missing files of `recorded` data that their path is relative to where the run was made."""
    name = str(recorded.get("data", ""))
    try:
        yield
    except DataMissingError as error:
        if not is_relative_data(name):
            raise
        kind = name.partition(":")[0]
        hint = f"the run names it relative to the folder that it was made in: work there, or add --data {kind}:PATH"
        raise DataMissingError(error.message, hint) from error


def _memory(record: RunRecord, card: ModelCard) -> int | None:
    measurement = record.find(card.id, "peak_memory_bytes", batch=card.fixed_batch or 1)
    return None if measurement is None or measurement.value is None else int(measurement.value)
