"""The workflow of `kdbench compare --remeasure`: measure two states of models side by side and compare them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kdbench.errors import InputError
from kdbench.judge.compare.matching import Match, match_models
from kdbench.judge.compare.records import (
    Rows,
    compare_matches,
    describe_machine,
    describe_record,
    notes_on_teachers,
    worst_change,
)
from kdbench.judge.compare.strategies import RecordPair
from kdbench.judge.compare.thresholds import Thresholds, metrics_to_compare
from kdbench.modelfile.facts import inspect
from kdbench.modelfile.identity import require_recorded
from kdbench.progress import Progress
from kdbench.recipe import InputOptions, Measure
from kdbench.results.cards import ModelCard
from kdbench.results.comparisons import REMEASURED, Comparison
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.values import require_id
from kdbench.workflows.bench import bench_models
from kdbench.workflows.bundle import data_of, explained_data
from kdbench.workflows.stages.results import RunResults

_ALL_DEFAULTS = Thresholds()


def remeasure(
    base: str | Path,
    new: str | Path,
    *,
    models: Mapping[str, str] | None = None,
    metrics: Sequence[str] = (),
    thresholds: Thresholds = _ALL_DEFAULTS,
    inputs: InputOptions | None = None,
    options: Measure | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> tuple[Comparison, Path | None]:
    """Measure the models of both states side by side; return what changed, and the folder of the measurement.

    `base` and `new` are runs with their models, or .onnx files. Models are matched as by `judge.compare`. Those with
    an unchanged file are not measured; if all are unchanged, there is no folder. A new model is timed with its base in
    the same sessions, so that earlier machines do not matter. Times and accuracies are measured only for metrics that
    need them. `inputs` overrides the data of the new record, or else of the base. Raises InputError for states without
    models, and for a file that its record does not describe.
    """
    compared = metrics_to_compare(metrics, thresholds)  # raises for impossible options before anything is measured
    timed = any(metric.hardware_dependent for metric in compared)
    inputs = inputs or InputOptions()
    scored = inputs.accuracy and any(metric.scored or metric.group == "parity" for metric in compared)
    before, after = _State.read(Path(base)), _State.read(Path(new))
    matched = match_models(before.cards, after.cards, models)
    for pair in matched.pairs:
        before.verify(pair.base)
        after.verify(pair.new)
    changed = [
        _ChangedModel(pair, before.side("base", pair.base), after.side("new", pair.new))
        for pair in matched.pairs
        if not pair.same_file
    ]
    changes, folder, machine = Rows(), None, ""
    if changed:
        recorded = {key: value for key, value in (after.data or before.data).items() if getattr(inputs, key) is None}
        inputs = inputs.model_copy(update={**recorded, "accuracy": scored})
        how: dict[str, Any] = {"options": options, "out": out, "progress": progress, "command": command}
        with explained_data(recorded):
            results = _measured(changed, inputs, timed=timed, **how)
        results.raise_on_failed_models()
        folder, machine = results.folder, describe_machine(results.record)
        changes = _changes(results, changed, metrics, thresholds)
    comparison = Comparison(
        base=before.description,
        new=after.description,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        overall=worst_change(changes.rows, matched.lost) if changed or matched.lost else "same",
        remeasured=True,
        rows=changes.rows,
        identical=tuple(pair.new.id for pair in matched.pairs if pair.same_file),
        machine=machine,
        lost=matched.lost,
        added=matched.added,
        notes=(*notes_on_teachers(matched), *changes.notes),
    )
    if folder is not None:
        comparison.write(folder.comparison)
    return comparison, None if folder is None else folder.path


@dataclass(frozen=True)
class _State:
    """One of the two states: its models, their files by id, and the recorded data they were scored on."""

    description: str
    cards: tuple[ModelCard, ...]
    files: Mapping[str, Path]
    recorded: bool = True
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "_State":
        """Read a run, or a single model file."""
        if path.suffix == ".onnx":
            return cls(path.name, (_card_of(path),), {path.stem: path}, recorded=False)
        folder = RunFolder.of(path)
        record = RunRecord.read(folder.record)
        files = {card.id: folder.model(card.id) for card in record.models}
        if not any(file.exists() for file in files.values()):
            message = f"{path} has no folder models/, so nothing can be measured again"
            raise InputError(message, "name the folder of the run with its models/, or the .onnx files themselves")
        return cls(describe_record(record), record.models, files, data=data_of(record))

    def side(self, prefix: str, card: ModelCard) -> "_Side":
        """Return a model of this state, with `prefix` in its id."""
        return _Side(f"{prefix}-{card.id}", self.files[card.id], card if self.recorded else None)

    def verify(self, card: ModelCard) -> None:
        """Raise InputError unless the file of `card` exists and is the one that was recorded."""
        path = self.files[card.id]
        if not path.exists():
            raise InputError(f"{path} is not there", "restore it, or leave the model out with --model")
        hint = "it was changed or truncated after measuring: restore it, measure again, or name the .onnx file itself"
        require_recorded(card, path, hint)


class _Side(NamedTuple):
    """A model in one of the states: its id in the record of both, its file, and its recorded card."""

    id: str
    path: Path
    card: ModelCard | None


class _ChangedModel(NamedTuple):
    """A model whose file changed, in both states."""

    match: Match
    before: _Side
    after: _Side


def _measured(changed: Sequence[_ChangedModel], inputs: InputOptions, *, timed: bool, **how: Any) -> RunResults:
    """Measure both sides of each model in the same sessions; `how` are options of `bench_models`."""
    sides = [side for model in changed for side in (model.before, model.after)]
    return bench_models(
        [side.path for side in sides],
        name=REMEASURED,
        cards={side.id: side.card for side in sides},
        teacher={model.after.id: model.before.id for model in changed},
        timed=_timed(changed) if timed else False,
        inputs=inputs,
        **how,
    )


def _timed(changed: Sequence[_ChangedModel]) -> set[str]:
    """Return the ids of the models to time: the first seed of each name, since weights do not affect times."""
    first = {model.match.new.name: model for model in reversed(changed)}
    return {side.id for model in first.values() for side in (model.before, model.after)}


def _changes(
    results: RunResults, changed: Sequence[_ChangedModel], metrics: Sequence[str], thresholds: Thresholds
) -> Rows:
    """Return what differs between the two sides of each model, with the original ids."""
    record, samples = results.record, results.samples
    matches = [Match(record.cards[model.before.id], record.cards[model.after.id]) for model in changed]
    sides = RecordPair(record, record, samples, samples, side_by_side=True)
    changes = compare_matches(sides, matches, metrics, thresholds)
    rows = tuple(
        row.model_copy(update={"base_model": model.match.base.id, "new_model": model.match.new.id})
        for model in changed
        for row in changes.rows
        if row.new_model == model.after.id
    )
    return Rows(rows, tuple(_renamed(note, changed) for note in changes.notes))


def _renamed(note: str, changed: Sequence[_ChangedModel]) -> str:
    """Return a note with the original id of the model that it begins with."""
    name, sign, text = note.partition(": ")
    original_ids = {model.after.id: model.match.new.id for model in changed}
    return f"{original_ids.get(name, name)}{sign}{text}"


def _card_of(path: Path) -> ModelCard:
    """Return a card for a file without a record, with the facts that matching needs."""
    require_id(path.stem)
    facts = inspect(path)
    return ModelCard(
        id=path.stem,
        name=path.stem,
        role="student",
        file=path.name,
        sha256=facts.sha256,
        input_shape=tuple(size or 1 for size in facts.sample_shape),
        classes=facts.classes,
        parameters=facts.parameters,
    )
