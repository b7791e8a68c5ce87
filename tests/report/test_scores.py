"""A regression's record as a report: errors where a classification has accuracies, the smaller the better."""

import pytest

from kdbench.judge.readiness import judge
from kdbench.judge.target import target_from
from kdbench.report import Content, write
from kdbench.report.figures.accuracy import sweep_accuracy, training_curves
from kdbench.report.figures.tradeoff import accuracy_latency
from kdbench.report.scores import ACCURACY, ERROR, score_of
from kdbench.report.styles import lay_out
from kdbench.report.tables.closed_form import closed_form
from kdbench.report.tables.errors import errors
from kdbench.report.tables.summary import ratios, summary
from kdbench.report.tables.training import converged, sweeps, training
from kdbench.report.text.paragraph import paragraph
from kdbench.results.cards import Epoch
from kdbench.results.records import Interval, Pair, measured

RMSE = {"teacher": 0.5, "student-alone": 0.8, "student-kd": 0.6}
AT = {"provider": "cpu", "threads": 1, "batch": 1}
LOSSES = (1.0, 0.30, 0.252, 0.25, 0.26)


def curve():
    return tuple(
        Epoch(
            epoch=n, train_loss=loss, train_rmse=loss**0.5, validation_loss=loss, validation_rmse=loss**0.5,
            learning_rate=0.1, seconds=1.0,
        )
        for n, loss in enumerate(LOSSES, 1)
    )  # fmt: skip


@pytest.fixture
def record(make_record, make_card):
    cards, measurements, pairs = [], [], []
    for number, (name, rmse) in enumerate(RMSE.items()):
        card = make_card(name, classes=None, targets=("price",))
        axes = {"mse_weight": float(number), "std": 1.0} if number else {}
        card = card.model_copy(
            update={
                "training": card.training.model_copy(update={"curve": curve()}),
                "family": "w{mse_weight}" if number else None,
                "axes": axes,
            }
        )
        cards.append(card)
        bounds = Interval(low=0.9 * rmse, high=1.1 * rmse)
        measurements += [
            measured(name, "mse", rmse**2, n=100),
            measured(name, "rmse", rmse, interval=bounds, n=100),
            measured(name, "mae", 0.8 * rmse, n=100),
            measured(name, "r2", 1 - rmse**2, n=100),
            measured(name, "rmse", 0.9 * rmse, axes={"part": "train"}, n=80),
            measured(name, "latency_mean_ns", 1e5 + number, axes=AT),
            measured(name, "closed_form_mse", rmse**2 / 1.25, n=100),
            measured(name, "expected_mse", 0.3, n=100),
        ]
        if number:
            measurements.append(measured(name, "teacher_mse", 0.04, n=100))
            ratio = {"value": 0.5 / rmse, "interval": Interval(low=0.45 / rmse, high=0.55 / rmse), "n": 100}
            pairs.append(Pair(teacher="teacher", student=name, metric="rmse_ratio", **ratio))
    fields = {"models": tuple(cards), "measurements": tuple(measurements), "pairs": tuple(pairs)}
    return make_record(**fields, warnings=(), layers=())


def heads(table):
    return [column.head for column in table.columns]


def texts(table, head):
    return [row.cells[heads(table).index(head)].text for row in table.rows]


def test_the_score_is_that_of_the_records_task(record, sample):
    assert score_of(record) is ERROR
    assert score_of(sample) is ACCURACY


def test_the_summary_ranks_by_the_smallest_error(record):
    table = summary(record)
    assert heads(table)[1:3] == ["RMSE", "R²"]
    assert not {"Top-1", "Top-5"} & set(heads(table))
    best = [row.cells[1].best for row in table.rows]
    assert best == [False, False, True]
    ratio = ratios(record)
    assert texts(ratio, "RMSE ratio") == ["0.625×", "0.833×"]
    assert "accurate" not in " ".join(ratio.notes)


def test_errors_are_shown_on_test_and_training_samples(record):
    table = errors(record)
    assert texts(table, "RMSE") == ["0.5000", "0.8000", "0.6000"]
    assert texts(table, "RMSE, train")[1] == "0.7200"
    assert texts(table, "MSE to teacher") == ["–", "0.04000", "0.04000"]
    assert not errors(record.model_copy(update={"measurements": ()})).rows


def test_a_linear_students_error_stands_beside_its_closed_form(record):
    table = closed_form(record)
    assert heads(table)[1:3] == ["mse_weight", "std"]
    assert texts(table, "Measured / closed form") == ["1.2500"] * 3
    assert texts(table, "mse_weight") == ["–", "1.0", "2.0"]


def test_sweeps_and_their_style_show_errors(record):
    assert "RMSE" in heads(sweeps(record))
    assert "MSE to teacher" in heads(sweeps(record))
    (table,) = lay_out(record, "sweep").tables
    assert table.title.startswith("RMSE")
    assert [row.cells[1].text for row in table.rows] == ["0.8000", "0.6000"]
    assert [row.cells[1].best for row in table.rows] == [False, True]


def test_figures_draw_errors_and_what_is_expected(record):
    assert accuracy_latency(record).name == "error_latency"
    assert "Down" in accuracy_latency(record).caption
    sweep = sweep_accuracy(record)
    assert "closed form" in sweep.caption
    assert "RMSE" in training_curves(record).svg


def test_the_paragraph_speaks_of_errors(record):
    text = paragraph(record)
    assert "RMSE of 0.5" in text
    assert "top-1" not in text
    assert "accuracy" not in text


def test_convergence_is_near_the_smallest_validation_loss(record):
    assert converged(record.models[0].training) == 3
    assert "loss" in training(record).notes[0]


@pytest.mark.parametrize("format_", ["md", "html", "csv", "json"])
def test_every_format_is_written(record, format_, tmp_path):
    write(Content(record), tmp_path, (format_,))
    assert "rmse" in (tmp_path / f"report.{format_}").read_text(encoding="utf-8").lower()


LIMITS = [({"max": 0.7}, "PASS"), ({"max": 0.5}, "FAIL"), ({"max": "0.62"}, "MARGINAL")]


@pytest.mark.parametrize(("limit", "outcome"), [*LIMITS, ({"min_ratio_vs_teacher": 0.7}, "PASS")])
def test_an_error_can_be_a_gate(record, limit, outcome):
    target = target_from({"name": "board", "criterion": [{"metric": "rmse", **limit}]})
    verdict = judge(record, target)
    by_model = {model.model: model.criteria[-1].outcome for model in verdict.models}
    assert by_model["student-kd"] == outcome
