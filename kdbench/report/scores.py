"""The score of a record's models: accuracy, or the error of a regression. Tables, figures and text use it."""

from dataclasses import dataclass

from kdbench.results.records import RunRecord
from kdbench.results.records.index import once_per_record


@dataclass(frozen=True)
class Score:
    """The score of one task, and how it is shown.

    `metric` is the headline, `columns` the scores of the summary. `against_teacher` compares a student's score with its
    teacher's, under the head `against_head`; `closeness` says how far it follows the teacher. `noun` names the score in
    a title, `axis` on an axis, where values are times `factor`. `curves` are the columns of a training curve with their
    titles and units.
    """

    metric: str
    columns: tuple[str, ...]
    against_teacher: str
    against_head: str
    against_note: str
    closeness: tuple[str, ...]
    noun: str
    axis: str
    factor: float
    higher_is_better: bool
    swept: tuple[tuple[str, str], ...]
    curves: tuple[tuple[str, str, str], ...]


ACCURACY = Score(
    metric="top1",
    columns=("top1", "top5"),
    against_teacher="top1_drop",
    against_head="Top-1 drop (points)",
    against_note="The drop is teacher minus student, in percentage points: above 0 the student is less accurate.",
    closeness=("agreement", "predictive_kl"),
    noun="accuracy",
    axis="top-1 accuracy, %",
    factor=100.0,
    higher_is_better=True,
    swept=(("top1", "Top-1, %"), ("agreement", "agreement with the teacher, %")),
    curves=(
        ("train_loss", "Training loss", "objective (log scale)"),
        ("validation_loss", "Validation loss", "cross-entropy, nats (log scale)"),
        ("train_top1", "Training accuracy", "top-1, %"),
        ("validation_top1", "Validation accuracy", "top-1, %"),
    ),
)

ERROR = Score(
    metric="rmse",
    columns=("rmse", "r2"),
    against_teacher="rmse_ratio",
    against_head="RMSE ratio",
    against_note="Errors are in the unit of the targets; an RMSE ratio above 1× means that the student's is smaller.",
    closeness=("teacher_mse",),
    noun="error",
    axis="RMSE",
    factor=1.0,
    higher_is_better=False,
    swept=(("mse", "MSE"), ("teacher_mse", "MSE to the teacher")),
    curves=(
        ("train_loss", "Training loss", "objective (log scale)"),
        ("validation_loss", "Validation loss", "mean squared error (log scale)"),
        ("train_rmse", "Training error", "RMSE"),
        ("validation_rmse", "Validation error", "RMSE"),
    ),
)


@once_per_record
def score_of(record: RunRecord) -> Score:
    """Return the score of the models in a record, which are of one task."""
    return ERROR if any(card.targets for card in record.models) else ACCURACY
