"""How models were trained, in which time and with which energy, and the points of a recipe's sweeps."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kdbench import units
from kdbench.report.axes import format_axes, headline
from kdbench.report.cells import Cell
from kdbench.report.model_groups import ModelGroup, families, has_metric, have_one_teacher, model_groups
from kdbench.report.numbers import number
from kdbench.report.scores import ERROR, score_of
from kdbench.report.table import DASH, Field, Table, column, metric_field, model_table, text_field
from kdbench.report.tables.energy import carbon_notes, energies, source_text
from kdbench.results.cards import Training
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes, RunRecord

_MARGIN = 0.005  # of a validation accuracy, as a share: half a point
_LOSS_MARGIN = 0.01  # of a regression's validation loss, relative
_TEACHER = {None: "none", "live": "evaluated at every step", "kept": "logits stored"}


def training(record: RunRecord) -> Table:
    """Return how each model that was trained in this run was trained (its first seed)."""
    runs = {group.label: run for group in model_groups(record) if (run := group.cards[0].training) is not None}
    trained = [group for group in model_groups(record) if group.label in runs]
    energy_columns = _energy_columns(record)

    def run_field(head: str, write: Callable[[Training], str]) -> Field:
        return text_field(head, lambda group: write(runs[group.label]))

    fields = [
        run_field("Objective", lambda run: run.objective),
        run_field("Teacher", lambda run: _TEACHER[run.teacher]),
        run_field("Epochs", lambda run: f"{run.epochs}{' (stopped early)' if run.stopped_early else ''}"),
        run_field("Converged", lambda run: str(converged(run))),
        run_field("Weights of epoch", lambda run: f"{run.kept_epoch}{' (best)' * (run.kept_epoch == run.best_epoch)}"),
        text_field("Seeds", lambda group: ", ".join(str(c.seed) for c in group.cards if c.seed is not None) or "–"),
        run_field("Precision", lambda run: run.precision),
        run_field(
            "Trained on", lambda run: f"cpu, {units.threads(run.threads)}" if run.device == "cpu" else run.device
        ),
        metric_field(record, "training_s", head="Training time", higher_is_better=None, unit=""),
        *(
            metric_field(record, metric, axes, head=head, higher_is_better=None, unit="")
            for head, (metric, axes) in energy_columns.items()
        ),
    ]
    several = any(len(group.cards) > 1 for group in model_groups(record))
    notes = [
        f"Converged: {convergence(record)}.",
        f"{'Epochs, time and energy' if energy_columns else 'Epochs and time'} are of the first seed."
        if several
        else "",
        _teacher_note(record),
        *(f"{group.label} {origin.shown}." for group in model_groups(record) if (origin := group.cards[0].origin)),
        *_energy_notes(record),
    ]
    return model_table("Training", trained, fields, notes)


def converged(run: Training) -> int | str:
    """Return the first epoch, from 1, whose validation score is close to the best (`convergence`); "?" without any."""
    best = max(run.curve, key=lambda epoch: epoch.validation_score, default=None)
    if best is None:
        return "?"
    margin = _LOSS_MARGIN * best.validation_loss if best.validation_top1 is None else _MARGIN
    return next(epoch.epoch for epoch in run.curve if epoch.validation_score >= best.validation_score - margin)


def convergence(record: RunRecord) -> str:
    """Return in words which epoch counts as that of convergence."""
    if score_of(record) is ERROR:
        return f"the first epoch whose validation loss is within {100 * _LOSS_MARGIN:g} % of the best"
    return f"the first epoch whose validation accuracy is within {100 * _MARGIN:g} points of the best"


def sweeps(record: RunRecord) -> Table:
    """Return the points of all sweeps of the recipe, one row each."""
    family_of = {member.label: family for family in families(record) for member in family.members}
    one_teacher = {family.name: have_one_teacher(record, family.members) for family in families(record)}
    score = score_of(record)
    closeness = [metric for metric in score.closeness if has_metric(record, metric)]
    has_relative = has_metric(record, "relative_latency")
    relative = [score.against_teacher, *closeness] if closeness else []  # to the teacher

    def point(group: ModelGroup) -> str:
        return ", ".join(f"{axis} {value}" for axis, value in family_of[group.label].point(group).items())

    def student_number(metric: str, group: ModelGroup, _: Axes) -> Cell:
        if group.role != "student":
            return DASH
        return replace(number(record, group, metric), comparable=one_teacher[family_of[group.label].name])

    fields = [
        text_field("Sweep", lambda group: family_of[group.label].name, code=True),
        text_field("Point", point),
        text_field("Model", lambda group: group.label, code=True),
        metric_field(record, score.metric),
        *(Field(column(metric), partial(student_number, metric)) for metric in relative),
        *([metric_field(record, "relative_latency", headline(record))] if has_relative else []),
        metric_field(record, "training_s"),
    ]
    at = format_axes(headline(record), " at ")
    notes = [
        f"Relative latency: of one call{at}, to `{record.protocol.get('reference')}`." if has_relative else "",
        "Bold: the best of its sweep. Settings that are not axes of a sweep are the same for all of its points.",
    ]
    members = [member for family in families(record) for member in family.members]
    return model_table("Sweeps", members, fields, notes, ranking=lambda group: family_of[group.label].name, name=None)


def _teacher_note(record: RunRecord) -> str:
    runs = [card.training for card in record.models if card.training is not None]
    if not any(run.teacher == "kept" for run in runs):
        return ""
    seconds = units.duration(sum(run.teacher_s for run in runs))
    return (
        "Logits stored: the teacher's logits were computed once for every image and view before the training, and "
        f"shared by all students with the same data. This took {seconds}, which no training time includes."
    )


def _energy_columns(record: RunRecord) -> dict[str, tuple[str, Axes]]:
    """Return the columns on the energy of training by their heads: a metric, and the scope if not the headline's."""
    columns: dict[str, tuple[str, Axes]] = {}
    for m in (*energies(record, "training_j"), *energies(record, "training_co2_g")):
        if m.value is not None:
            scope = {key: value for key, value in m.axes.items() if key == "scope"}
            columns[", ".join((METRICS[m.metric].title, *map(str, scope.values())))] = (m.metric, scope)
    return columns


def _energy_notes(record: RunRecord) -> list[str]:
    first = next((m for m in energies(record, "training_j") if m.value is not None), None)
    if first is None:
        return []
    estimate = " It is an estimate and not comparable with measurements." if first.evidence == "estimated" else ""
    note = f"Training energy: gross, over the epochs, validation included; {source_text(first)}.{estimate}"
    modelled = any(m.value is not None for m in energies(record, "training_co2_g"))
    return [note, *(carbon_notes(record) if modelled else [])]
