"""How the models that were trained here came to their weights, and what that took in time and energy."""

from kdbench import units
from kdbench.report.cells import Column, Table, Text, finished
from kdbench.report.columns import row
from kdbench.report.metering import by_whom, energies, notes_on_carbon
from kdbench.report.subjects import number, subjects
from kdbench.results.cards import Training
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes, RunRecord

MARGIN = 0.005  # of a validation accuracy, as a share: half a point
_ASKED = {None: "none", "live": "asked at every step", "kept": "logits kept"}


def training(record: RunRecord) -> Table:
    """Return how each model that was trained here came to its weights (of the first seed)."""
    heads = (
        "Model",
        "Objective",
        "Teacher",
        "Epochs",
        "Converged",
        "Weights of epoch",
        "Seeds",
        "Precision",
        "Trained on",
    )
    spent = _energies(record)
    columns = [*(Column(head, numeric=False) for head in heads), Column("Training time"), *map(Column, spent)]
    rows = []
    for subject in subjects(record):
        run = subject.cards[0].training
        if run is None:
            continue
        words = (
            run.objective,
            _ASKED[run.teacher],
            f"{run.epochs} (stopped early)" if run.stopped_early else f"{run.epochs}",
            str(converged(run)),
            f"{run.kept_epoch} (best)" if run.kept_epoch == run.best_epoch else f"{run.kept_epoch}",
            ", ".join(str(card.seed) for card in subject.cards if card.seed is not None) or "–",
            run.precision,
            run.device if run.device != "cpu" else f"cpu, {run.threads} thread{'s' if run.threads > 1 else ''}",
        )
        energies_spent = (number(record, subject, metric, axes) for metric, axes in spent.values())
        rows.append(
            row(subject, *(Text(word) for word in words), number(record, subject, "training_s"), *energies_spent)
        )
    several = any(len(subject.cards) > 1 for subject in subjects(record))
    what = "Epochs, time and energy" if spent else "Epochs and time"
    notes = [
        f"Converged: the first epoch whose validation accuracy is within {100 * MARGIN:g} points of the best.",
        *([f"{what} are the first seed's."] if several else []),
        *_notes_on_teachers(record),
        *_notes_on_energy(record),
    ]
    return finished("Training", columns, rows, notes)


def converged(run: Training) -> int | str:
    """Return the first epoch, from 1, whose validation accuracy is within `MARGIN` of the best; "?" without a curve."""
    best = max((epoch.validation_top1 for epoch in run.curve), default=0.0)
    return next((epoch.epoch for epoch in run.curve if epoch.validation_top1 >= best - MARGIN), "?")


def _notes_on_teachers(record: RunRecord) -> list[str]:
    runs = [card.training for card in record.models if card.training is not None]
    if not any(run.teacher == "kept" for run in runs):
        return []
    seconds = units.duration(sum(run.teacher_s for run in runs))
    return [
        (
            "Logits kept: asked once for every image and view, before the training, and shared by all students that "
            f"see the same. That took {seconds} in all, which is in no training time."
        )
    ]


def _energies(record: RunRecord) -> dict[str, tuple[str, Axes]]:
    """Return the columns on the energy of training, by their heads: a metric, of the headline or of another scope."""
    found: dict[str, tuple[str, Axes]] = {}
    for metric in ("training_j", "training_co2_g"):
        for m in energies(record, metric):
            scope = m.axes.get("scope")
            if m.value is not None:
                head = f"{METRICS[metric].title}{'' if scope is None else f', {scope}'}"
                found.setdefault(head, (metric, {} if scope is None else {"scope": scope}))
    return found


def _notes_on_energy(record: RunRecord) -> list[str]:
    first = next((m for m in energies(record, "training_j") if m.value is not None), None)
    if first is None:
        return []
    estimate = " An estimate, to be compared with no measurement." if first.evidence == "estimated" else ""
    note = f"Training energy: gross, of the epochs, validation included; {by_whom(first)}.{estimate}"
    modelled = any(m.value is not None for m in energies(record, "training_co2_g"))
    return [note, *(notes_on_carbon(record) if modelled else [])]
