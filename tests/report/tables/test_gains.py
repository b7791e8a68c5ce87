"""The table of gains over baselines, and the sentence about distillation."""

import math

import pytest

from kdbench.report import tables
from kdbench.report.tables.gains import gains
from kdbench.report.tables.reported import reported
from kdbench.report.text.paragraph import paragraph
from kdbench.results.records import Interval, measured, missing

FEW = "the model has 3 classes"


def gain(model, beside, value, half=0.5, metric="top1_gain"):
    interval = Interval(low=value - half, high=value + half)
    return measured(model, metric, value, axes={"beside": beside}, interval=interval, n=360)


@pytest.fixture
def with_gains(sample):
    def build(*measurements, **changes):
        ids = {card.id for card in changes.get("models", sample.models)}
        results = tuple(m for m in (*sample.measurements, *measurements) if m.model in ids)
        pairs = tuple(pair for pair in sample.pairs if pair.student in ids)
        return sample.model_copy(update={"measurements": results, "pairs": pairs, **changes})

    return build


def shown(table):
    return [[getattr(cell, "with_interval", cell.text) for cell in row.cells] for row in table.rows]


def test_a_row_for_each_model_and_baseline(with_gains):
    record = with_gains(
        gain("student-kd", "student-alone", 1.67),
        missing("student-kd", "top5_gain", FEW, axes={"beside": "student-alone"}),
        gain("student-hint", "student-alone", 1.39),
        gain("student-hint", "student-kd", -0.28),
    )
    table = gains(record)
    unknown = "n/a (not compared on the same samples)"
    assert shown(table) == [
        ["student-kd", "student-alone", "+1.67 [+1.17, +2.17]", f"n/a ({FEW})", "6.2 s [4.8, 8.9]"],
        ["student-hint", "student-alone", "+1.39 [+0.89, +1.89]", unknown, "10.7 s [7.9, 16.7]"],  # 14.9 s of training
        ["student-hint", "student-kd", "-0.28 [-0.78, +0.22]", unknown, "–"],
    ]
    assert [row.cells[2].best for row in table.rows] == [True, False, False], "best among those with the same baseline"
    assert not any("epochs" in note for note in table.notes)
    assert "training time divided by" in table.notes[1]


def test_it_appears_only_with_gains(sample, with_gains):
    titles = [
        [table.title for table in tables.build_tables(record)]
        for record in (sample, with_gains(gain("student-kd", "student-alone", 1.0)))
    ]
    assert "Gain over a baseline" not in titles[0]
    assert titles[1].index("Gain over a baseline") == titles[1].index("Front") + 1


def test_models_trained_for_other_numbers_of_epochs_are_named(with_gains, make_card):
    card = make_card("student-kd")
    longer = card.model_copy(update={"training": card.training.model_copy(update={"epochs": 9})})
    cards = [make_card("teacher"), make_card("student-alone"), longer]
    notes = gains(with_gains(gain("student-kd", "student-alone", 1.0), models=tuple(cards))).notes
    assert notes[3] == "Trained for different numbers of epochs: `student-kd` 9 and `student-alone` 4."
    fused = longer.model_copy(update={"architecture": "fused"})  # the epochs of its head
    cards = [make_card("teacher"), make_card("student-alone"), fused]
    assert len(gains(with_gains(gain("student-kd", "student-alone", 1.0), models=tuple(cards))).notes) == 3


def seeds_of(make_card, names=("teacher", "student-alone", "student-kd")):
    return [make_card(name, id=f"{name}-s{seed}", seed=seed) for name in names for seed in (0, 1)]


def test_of_several_seeds_the_mean_of_paired_gains_covers_both_errors(with_gains, make_card):
    measurements = [gain(f"student-kd-s{seed}", f"student-alone-s{seed}", 1.0 + seed) for seed in (0, 1)]
    table = gains(with_gains(*measurements, models=tuple(seeds_of(make_card))))
    cell = table.rows[0].cells[2]
    assert "training time with the first seed divided by" in table.notes[1]
    scatter = 12.7062 * 0.5  # Student's t of two values one apart: t(1) s / sqrt(2), s = 1 / sqrt(2)
    half = math.hypot(scatter, 0.5)
    assert cell.value == pytest.approx(1.5)
    assert (cell.interval.low, cell.interval.high) == pytest.approx((1.5 - half, 1.5 + half), rel=1e-4)


def test_no_model_gains_more_than_100_points(with_gains, make_card):
    """The gains are 20 and 60 points: Student's interval reaches from 40 - 254 to 40 + 254."""
    measurements = [gain(f"student-kd-s{seed}", f"student-alone-s{seed}", 20.0 + 40 * seed) for seed in (0, 1)]
    cell = gains(with_gains(*measurements, models=tuple(seeds_of(make_card)))).rows[0].cells[2]
    assert (cell.value, cell.interval.low, cell.interval.high) == (40.0, -100.0, 100.0)


def test_a_seed_without_a_gain_is_counted(with_gains, make_card):
    measurements = [
        gain("student-kd-s0", "student-alone-s0", 1.0),
        missing("student-kd-s1", "top1_gain", "failed", axes={"beside": "student-alone-s1"}),
    ]
    cell = gains(with_gains(*measurements, models=tuple(seeds_of(make_card)))).rows[0].cells[2]
    assert (cell.value, cell.aside) == (1.0, "1 of 2 seeds")


def test_a_seed_that_was_not_compared_is_counted(with_gains, make_card):
    models = tuple(card for card in seeds_of(make_card) if card.id != "student-alone-s1")
    cell = gains(with_gains(gain("student-kd-s0", "student-alone-s0", 1.0), models=models)).rows[0].cells[2]
    assert (cell.value, cell.aside) == (1.0, "1 of 2 seeds")


def test_models_of_equal_epochs_are_named_together(with_gains, make_card):
    cards, alone = [make_card("teacher"), make_card("student-alone")], make_card("student-alone").training
    for n in range(5):
        longer = alone.model_copy(update={"epochs": 100 if n < 3 else 200})
        cards.append(make_card("student-kd", id=f"kd{n}", name=f"kd{n}").model_copy(update={"training": longer}))
    record = with_gains(*(gain(f"kd{n}", "student-alone", 1.0) for n in range(5)), models=tuple(cards))
    together = "`kd0`, `kd1`, `kd2` 100 and `student-alone` 4; `kd3`, `kd4` 200 and `student-alone` 4."
    assert gains(record).notes[3].endswith(f": {together}")


def test_a_reported_difference_has_the_paired_interval(with_gains):
    entry = {"model": "student-kd", "minus": "student-alone", "metric": "top1", "value": 1.5}
    record = with_gains(gain("student-kd", "student-alone", 1.67), recipe={"reported": [entry]})
    ours = reported(record).rows[0].cells[3]
    assert ours.with_interval == "+1.67 points [+1.17, +2.17]"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            (1.67,),
            (
                "Distillation gains for `student-kd`: +1.67 points of top-1 "
                "(95 % interval of one seed [+1.17, +2.17]) over "
                "`student-alone`, trained on labels alone."
            ),
        ),
        (
            (1.67, 1.0),
            (
                "Distillation gains most for `student-kd`: +1.67 points of top-1 "
                "(95 % interval of one seed [+1.17, +2.17]; the "
                "largest of 2 differences, partly by chance) over `student-alone`, trained on labels alone."
            ),
        ),
        (
            (1.67, (3.0, 4.0)),
            (
                "Distillation gains for `student-kd`: +1.67 points of top-1 "
                "(95 % interval of one seed [+1.17, +2.17]; the largest "
                "certain one of 2 differences, partly by chance) over `student-alone`, trained on labels alone."
            ),
        ),
        (
            (0.2,),
            (
                "Distillation shows no gain in accuracy over labels alone: +0.20 points of top-1 "
                "(95 % interval of one seed "
                "[-0.30, +0.70]) for `student-kd` over `student-alone`."
            ),
        ),
        (
            (-1.0, -3.0),
            (
                "Distillation lowers accuracy, least with `student-kd`: -1.00 points of top-1 "
                "(95 % interval of one seed "
                "[-1.50, -0.50]; the largest of 2 differences, partly by chance) from `student-alone`'s."
            ),
        ),
    ],
)
def test_the_paragraph_says_what_distillation_adds(with_gains, make_card, values, sentence):
    students = ("student-kd", "student-hint")[: len(values)]
    distilled = [make_card(name, teachers=("teacher",)) for name in students]
    cards = (make_card("teacher"), make_card("student-alone"), *distilled)
    record = with_gains(
        *(
            gain(name, "student-alone", *(value if isinstance(value, tuple) else (value,)))
            for name, value in zip(students, values, strict=True)
        ),
        gain("student-kd", "teacher", 30.0),
        models=cards,
    )
    assert sentence in paragraph(record)


def test_the_paragraph_without_a_student_on_labels_alone_says_nothing_of_a_gain(with_gains, make_card):
    cards = tuple(make_card(name, teachers=("teacher",)) for name in ("student-kd", "student-hint"))
    record = with_gains(gain("student-kd", "student-hint", 1.0), models=(make_card("teacher"), *cards))
    assert "Distillation" not in paragraph(record)


@pytest.mark.parametrize(
    ("of_card", "of_entry"),
    [
        ({"options": {"channels": 99}}, {}),
        ({}, {"start": {"model": "student-kd"}}),
        ({}, {"data": {"subset": {"half": "D0"}}}),
    ],
)
def test_a_study_s_difference_between_other_networks_or_images_is_not_due_to_distillation(
    with_gains, make_card, of_card, of_entry
):
    alone = make_card("student-alone", **of_card)
    models = (make_card("teacher"), alone, make_card("student-kd", teachers=("teacher",)))
    entries = [{"name": "student-alone", **of_entry}, {"name": "student-kd"}]
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=models, recipe={"student": entries})
    assert len(gains(record).rows) == 1
    assert "Distillation" not in paragraph(record)
    same = record.model_copy(update={"models": (models[0], make_card("student-alone"), models[2]), "recipe": None})
    assert "Distillation gains" in paragraph(same)


def test_options_in_another_order_are_the_same_network(with_gains, make_card):
    options = {"stem": "cifar", "width": 0.25}
    alone = make_card("student-alone", options=options)
    turned = make_card("student-kd", teachers=("teacher",), options=dict(reversed(options.items())))
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=(make_card("teacher"), alone, turned))
    assert "Distillation gains for `student-kd`" in paragraph(record)


@pytest.mark.parametrize(("baseline", "is_named"), [("student-alone", True), ("student-hint", False)])
def test_a_more_accurate_student_on_labels_alone_is_named(with_gains, make_card, baseline, is_named):
    cards = [make_card(name) for name in ("teacher", "student-alone", "student-hint")]
    student = make_card("student-kd", teachers=("teacher",))
    text = paragraph(with_gains(gain("student-kd", baseline, 3.0), models=(*cards, student)))
    assert "Distillation gains" in text
    assert ("Trained on labels alone with other settings, `student-hint` has" in text) == is_named


def test_another_augmentation_is_named(with_gains, make_card):
    models = (make_card("teacher"), make_card("student-alone"), make_card("student-kd", teachers=("teacher",)))
    entries = [
        {"name": "student-alone", "data": {"augment": {"pad": 4, "mixup": 0.0}}},
        {"name": "student-kd", "data": {"augment": {"pad": 4, "mixup": 1.0}}},
    ]
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=models, recipe={"student": entries})
    note = "A part of these gains may be due to another augmentation: `student-kd` over `student-alone`."
    assert gains(record).notes[3] == note
    text = paragraph(record)
    assert "over `student-alone`, trained on labels alone, with different augmentation of the images." in text
    same = record.model_copy(update={"recipe": {"student": [entries[0], {**entries[0], "name": "student-kd"}]}})
    assert len(gains(same).notes) == 3
    assert "trained on labels alone." in paragraph(same)


RATES = [
    {"name": "student-alone", "training": {"epochs": 4, "threads": 1, "optimizer": {"name": "adam", "lr": 0.001}}},
    {"name": "student-kd", "training": {"epochs": 4, "threads": 2, "optimizer": {"name": "adam", "lr": 0.01}}},
]


def test_another_learning_rate_is_named(with_gains, make_card):
    models = (make_card("teacher"), make_card("student-alone"), make_card("student-kd", teachers=("teacher",)))
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=models, recipe={"student": RATES})
    pair = "`student-kd` over `student-alone` (`optimizer.lr` 0.01 in place of 0.001)"
    assert gains(record).notes[3:] == (f"A part of these gains may be due to other settings of the training: {pair}.",)
    assert "trained on labels alone, with `optimizer.lr` 0.001 in place of 0.01." in paragraph(record)
    threads = {**RATES[0], "name": "student-kd", "training": {**RATES[0]["training"], "threads": 8}}
    same = record.model_copy(update={"recipe": {"student": [RATES[0], threads]}})
    assert len(gains(same).notes) == 3, "threads are no setting of the optimisation"
    assert "trained on labels alone." in paragraph(same)


def test_two_optimisers_differ_by_their_names(with_gains, make_card):
    models = (make_card("teacher"), make_card("student-alone"), make_card("student-kd", teachers=("teacher",)))
    other = {"name": "student-kd", "training": {"clip": 1.0, "optimizer": {"name": "sgd", "lr": 0.1}}}
    alone = {"name": "student-alone", "training": {"clip": None, "optimizer": {"name": "adam", "lr": 0.001}}}
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=models, recipe={"student": [alone, other]})
    changed = "`clip` none in place of 1.0 and `optimizer.name` adam in place of sgd"
    assert f"trained on labels alone, with {changed}." in paragraph(record)


def test_the_sentence_names_other_numbers_of_epochs(with_gains, make_card):
    card = make_card("student-kd", teachers=("teacher",))
    longer = card.model_copy(update={"training": card.training.model_copy(update={"epochs": 9})})
    models = (make_card("teacher"), make_card("student-alone"), longer)
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=models)
    assert "over `student-alone`, trained on labels alone, with 4 epochs in place of 9." in paragraph(record)


def test_bold_is_explained_where_rows_have_several_baselines(with_gains):
    note = "Bold: the best of its column among the models with the same baseline."
    first = [gain(name, "student-alone", 1.0) for name in ("student-kd", "student-hint")]
    assert note not in gains(with_gains(*first)).notes
    assert note in gains(with_gains(*first, gain("student-hint", "student-kd", 0.5))).notes


def test_one_seed_is_named_where_it_limits_what_an_interval_covers(with_gains, make_card):
    """An interval over the test samples of one pair of trainings says nothing about other trainings."""
    models = (make_card("teacher"), make_card("student-alone"), make_card("student-kd", teachers=("teacher",)))
    record = with_gains(gain("student-kd", "student-alone", 3.0), models=models)
    assert "+3.00 points of top-1 (95 % interval of one seed [+2.50, +3.50]) over" in paragraph(record)
    (table, *_) = tables.build_tables(record)
    for notes in (table.notes, gains(record).notes):
        assert any(note.startswith("One seed: ") for note in notes)
    pairs = [gain(f"student-kd-s{seed}", f"student-alone-s{seed}", 1.0 + seed) for seed in (0, 1)]
    several = with_gains(*pairs, models=tuple(seeds_of(make_card)))
    (table, *_) = tables.build_tables(several)
    for notes in (table.notes, gains(several).notes):
        assert not any(note.startswith("One seed: ") for note in notes)


def test_models_that_were_not_trained_have_no_seed(sample):
    cards = tuple(card.model_copy(update={"training": None}) for card in sample.models)
    (table, *_) = tables.build_tables(sample.model_copy(update={"models": cards}))
    assert not any("seed" in note for note in table.notes)
