"""Which models are on the front, which are dominated and whether intervals settle it, and trade-offs in words."""

import re

import pytest

from kdbench.report.figures.drawing import GREY, style_of
from kdbench.report.figures.tradeoff import accuracy_latency, accuracy_size
from kdbench.report.tables.front import front
from kdbench.report.tables.planes import planes
from kdbench.results.cards import Variant
from kdbench.results.records import Interval, Pair, measured

AT = {"provider": "cpu", "threads": 1, "batch": 1}


def bounds(value, half):
    return Interval(low=value - half, high=value + half)


@pytest.fixture
def run(make_record, make_card):
    """Return the maker of a record from models: name to (top-1 in %, half-width, latency in ms, half-width, bytes).

    `pairs` are (reference, model, metric, value, low, high); models of one name in `networks` differ in weights only.
    """

    def make(pairs=(), task=None, networks=None, **models):
        cards, measurements = [], []
        for name, (top1, width, ms, half, size) in models.items():
            options = {"width": (networks or {}).get(name, name)}
            role = "teacher" if name == "t" else "student-kd"
            cards.append(make_card(role, id=name, name=name, training=None, options=options))
            share, mean = top1 / 100, {"axes": AT, "interval": None if half is None else bounds(ms * 1e6, half * 1e6)}
            measurements += [
                measured(name, "top1", share, interval=None if width is None else bounds(share, width / 100), n=1000),
                measured(name, "latency_mean_ns", ms * 1e6, **mean),
                measured(name, "size_bytes", size),
            ]
        compared = []
        for teacher, student, metric, value, low, high in pairs:
            interval = None if low is None else Interval(low=low, high=high)
            axes = AT if metric in {"latency_ratio", "energy_ratio"} else {}
            both = {"teacher": teacher, "student": student, "axes": axes}
            compared.append(Pair(metric=metric, value=value, interval=interval, n=1000, **both))
        return make_record(models=cards, measurements=measurements, pairs=compared, warnings=(), recipe=None)

    return make


def places(record):
    """Return the texts of each plane by model."""
    return {row.cells[0].text: tuple(cell.text for cell in row.cells[2:]) for row in front(record).rows}


def test_what_others_dominate_is_marked_with_what_is_not_settled(run):
    record = run(
        t=(90, 0.5, 8, 0.2, 4000),
        fast=(88, 0.5, 1, 0.05, 1000),
        alike=(87.8, 0.5, 1.02, 0.05, 1000),
        bad=(80, 0.5, 9, 0.2, 5000),
    )
    assert places(record) == {
        "t": ("on the front", "on the front"),
        "fast": ("on the front", "on the front"),
        "alike": (
            "dominated by `fast` (latency and accuracy not settled)",
            "dominated by `fast` (accuracy not settled)",
        ),
        "bad": ("dominated by `t`", "dominated by `t`"),
    }


def test_what_is_marked_is_what_the_figures_line_leaves_out(sample):
    for plane in planes(sample).values():
        xy = {p.group.label: (p.cost.value, p.score.value) for p in plane.models}
        assert plane.front == {
            label
            for label, (x, y) in xy.items()
            if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in xy.values())
        }
    drawing = accuracy_latency(sample)
    dominated = planes(sample)["latency"].dominated
    assert set(dominated) == {"student-alone", "student-hint"}
    assert drawing.svg.count(f"fill: {GREY}") > accuracy_size(sample).svg.count("fill: none")
    for index, placed in enumerate(planes(sample)["latency"].models):
        colour = style_of(index)[0].lower()
        assert (f"stroke: {colour}" in drawing.svg) == (placed.group.label not in dominated)


def test_the_interval_of_a_comparison_settles_what_two_intervals_leave_open(run):
    models = {"t": (90, 1, 2, 0.2, 4000), "s": (90.5, 1, 1.9, 0.2, 1000)}
    faster, better = ("t", "s", "latency_ratio", 1.05, 1.03, 1.07), ("t", "s", "top1_drop", -0.5, -0.7, -0.3)
    of = {
        "both": places(run([faster, better], **models))["t"],
        "speed": places(run([faster, ("t", "s", "top1_drop", -0.5, -1.0, 0.1)], **models))["t"],
        "neither": places(run(**models))["t"],
    }
    assert of == {
        "both": ("dominated by `s`", "dominated by `s`"),
        "speed": ("dominated by `s` (accuracy not settled)",) * 2,
        "neither": ("dominated by `s` (latency and accuracy not settled)", "dominated by `s` (accuracy not settled)"),
    }


def test_a_gain_over_the_teacher_leaves_settled_what_their_ratio_settles(run):
    """A study's difference between a student and its teacher is a gain too, and says nothing about times."""
    models = {"t": (90, 1, 2, 0.2, 4000), "s": (90.5, 1, 1.9, 0.2, 1000)}
    pairs = [("t", "s", "latency_ratio", 1.05, 1.03, 1.07), ("t", "s", "top1_drop", -0.5, -1.0, 0.1)]
    record = run(pairs, **models)
    gain = measured("s", "top1_gain", 0.5, axes={"beside": "t"}, interval=bounds(0.5, 0.6), n=1000)
    record = record.model_copy(update={"measurements": (*record.measurements, gain)})
    assert places(record)["t"] == ("dominated by `s` (accuracy not settled)",) * 2


def test_models_of_one_network_count_as_equally_fast(run):
    """The less accurate one is faster by chance: it is not on the front."""
    models = {"t": (90, 0.5, 8, 0.2, 4000), "kd": (88, 0.5, 1.04, 0.05, 1000), "alone": (80, 0.5, 0.96, 0.05, 1000)}
    apart, same = run(**models), run(**models, networks={"kd": 1, "alone": 1})
    assert [places(record)["alone"][0] for record in (apart, same)] == ["on the front", "dominated by `kd`"]
    assert places(same)["kd"][0] == "on the front"
    assert ["share the mean of their times" in " ".join(front(record).notes) for record in (apart, same)] == [
        False,
        True,
    ]
    other = run(**models, between=(84, 0.5, 1.02, 0.005, 1000), networks={"kd": 1, "alone": 1})
    assert places(other)["between"][0] == "dominated by `kd` (latency not settled)", "the network takes 1 ms ± 0.05"
    lines = [re.search(r'<path d="([^"]*)"[^>]*stroke-dasharray', accuracy_latency(r).svg)[1] for r in (apart, same)]
    assert [len(re.findall("[ML]", line)) for line in lines] == [3, 2], "the line joins the models of the front"


def test_files_of_one_network_have_their_own_sizes(run):
    """A size is not measured: the smaller file is smaller, whatever made it so."""
    models = {"t": (90, 0.5, 8, 0.2, 4000), "kd": (88, 0.5, 1, 0.05, 1000), "alone": (80, 0.5, 1, 0.05, 990)}
    places_of = places(run(**models, networks={"kd": 1, "alone": 1}))
    assert places_of["kd"] == ("on the front",) * 2
    assert places_of["alone"] == ("dominated by `kd`", "on the front")


def test_variants_share_the_time_of_their_network_if_the_same_layers_were_compressed(run):
    models = {"t": (90, 0.5, 8, 0.2, 4000), "kd": (88, 0.5, 1.04, 0.05, 1000), "alone": (80, 0.5, 0.96, 0.05, 1000)}
    record = run(**models, networks={"kd": 1, "alone": 1})

    def int8(ranges, kept=()):
        facts = {"kept_float": list(kept)} if kept else {"snr_db": len(ranges) / 3}
        made = {"of": "t", "source_sha256": "0" * 64, "method": "int8", "key": "k"}
        return Variant(**made, settings={"per_channel": True}, ranges=dict.fromkeys(ranges, (0.0, 1.0)), facts=facts)

    def with_variants(kd, alone):
        cards = [card.model_copy(update={"variant": {"kd": kd, "alone": alone}.get(card.id)}) for card in record.models]
        return places(record.model_copy(update={"models": tuple(cards)}))["alone"][0]

    assert with_variants(int8("ab"), int8("ab")) == "dominated by `kd`"
    for other in (int8("a"), int8("ab", kept=["conv"]), None):
        assert with_variants(int8("ab"), other) == "on the front"


@pytest.mark.parametrize(
    ("value", "half", "kd", "alone"),
    [
        (0.5, 0.3, "on the front", "dominated by `kd`"),
        (0.5, 0.7, "on the front", "dominated by `kd` (accuracy not settled)"),
        (-0.5, 0.3, "dominated by `alone`", "on the front"),
        (-0.5, 0.7, "dominated by `alone` (accuracy not settled)", "on the front"),
    ],
)
def test_the_interval_of_a_gain_settles_which_of_two_students_is_more_accurate(run, value, half, kd, alone):
    record = run(t=(95, 1, 8, 0.2, 4000), alone=(90, 1, 2, 0.1, 1000), kd=(90 + value, 1, 2, 0.1, 1000))
    gain = measured("kd", "top1_gain", value, axes={"beside": "alone"}, interval=bounds(value, half), n=1000)
    record = record.model_copy(update={"measurements": (*record.measurements, gain)})
    assert places(record) == {"t": ("on the front",) * 2, "alone": (alone,) * 2, "kd": (kd,) * 2}


def test_a_student_that_its_teacher_dominates(run):
    larger = ("t", "s", "size_ratio", 0.8, None, None)
    pairs = [larger, ("t", "s", "latency_ratio", 0.95, 0.93, 0.97), ("t", "s", "top1_drop", 0.5, 0.3, 0.7)]
    record = run(pairs, t=(90, 1, 1.9, 0.2, 4000), s=(89.5, 1, 2, 0.2, 5000))
    assert places(record) == {"t": ("on the front",) * 2, "s": ("dominated by `t`",) * 2}
    assert "`s` is 1.25× larger and 1.05× slower than `t` and loses 0.50 points [0.30, 0.70]." in front(record).notes


def test_what_runs_differ_by_is_common_to_the_models_of_one(run):
    record = run(t=(90, 0.1, 2, 0.5, 4000), s=(91, 0.1, 1.8, 0.5, 1000))
    inside = [
        m.model_copy(update={"within_run": bounds(m.value, 0.01e6)}) if m.metric == "latency_mean_ns" else m
        for m in record.measurements
    ]
    assert places(record)["t"][0] == "dominated by `s` (latency not settled)"
    assert places(record.model_copy(update={"measurements": tuple(inside)}))["t"][0] == "dominated by `s`"


def test_a_number_without_an_interval_settles_nothing(run):
    record = run(t=(90, None, 2, None, 4000), s=(99, None, 1, None, 1000))
    assert places(record)["t"] == (
        "dominated by `s` (latency and accuracy not settled)",
        "dominated by `s` (accuracy not settled)",
    )


def test_models_without_a_number_have_no_place(refused, make_record):
    assert places(refused)["student-hint"] == ("n/a (the ONNX file strays from the…)",) * 2
    assert not front(make_record(measurements=(), pairs=())).shown


def test_energy_has_a_front_if_it_was_measured(metered, estimated):
    assert set(planes(metered)) == {"latency", "size", "energy"}
    assert set(planes(estimated)) == {"latency", "size"}
    assert places(metered)["student-hint"][2] == "n/a (killed by signal 9)"


SMALL, FAST = ("t", "s", "size_ratio", 5.1, None, None), ("t", "s", "latency_ratio", 1.9, 1.8, 2.0)
MODELS = {"t": (90, 1, 2, 0.1, 5100), "s": (89.7, 1, 1, 0.1, 1000)}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (
            [SMALL, FAST, ("t", "s", "top1_drop", 0.3, 0.1, 0.5)],
            "`s` is 5.10× smaller and 1.90× faster than `t` for 0.30 points [0.10, 0.50].",
        ),
        (
            [SMALL, ("t", "s", "latency_ratio", 0.5, 0.4, 0.6), ("t", "s", "top1_drop", 0.3, 0.1, 0.5)],
            "`s` is 5.10× smaller but 2.00× slower than `t` for 0.30 points [0.10, 0.50].",
        ),
        (
            [SMALL, ("t", "s", "latency_ratio", 1.1, 0.9, 1.3), ("t", "s", "top1_drop", -0.3, -0.5, -0.1)],
            "`s` is 5.10× smaller and not measurably faster or slower than `t` and gains 0.30 points [0.10, 0.50].",
        ),
        (
            [FAST, ("t", "s", "energy_ratio", 2.0, 1.9, 2.1), ("t", "s", "top1_drop", 0.1, -0.2, 0.4)],
            (
                "`s` is 1.90× faster and 2.00× more energy-efficient than `t` and has no measurable difference in "
                "accuracy (drop +0.10 [-0.20, +0.40] points)."
            ),
        ),
        (
            [("t", "s", "size_ratio", 1.0, None, None), ("t", "s", "top1_drop", 0.3, 0.1, 0.5)],
            "`s` loses 0.30 points [0.10, 0.50] against `t`.",
        ),
        (
            [FAST, ("t", "s", "top1_drop", 0.3, 0.1, 0.5), ("t", "s", "negative_flips", 0.0046, 0.0034, 0.0061)],
            (
                "`s` is 1.90× faster than `t` for 0.30 points [0.10, 0.50]. 0.46 % [0.34, 0.61] of the test samples "
                "turn from right to wrong."
            ),
        ),
        (
            [FAST, ("t", "s", "top1_drop", 0.3, 0.1, 0.5), ("t", "s", "negative_flips", 0.0, 0.0, 0.0037)],
            (
                "`s` is 1.90× faster than `t` for 0.30 points [0.10, 0.50]. No test sample turns from right to wrong "
                "(at most 0.37 %)."
            ),
        ),
        ([FAST], "`s` is 1.90× faster than `t` and its accuracy was not compared (not measured)."),
    ],
)
def test_a_model_and_its_reference_in_words(run, pairs, words):
    assert front(run(pairs, **MODELS)).notes[0] == words


def test_a_model_that_was_compared_with_nothing_has_no_sentence(run):
    assert front(run(**MODELS)).notes == ()


def test_of_many_models_those_on_a_front_have_a_sentence(run):
    models = {f"s{k}": (90 - k % 7 - (5 if k > 6 else 0), 0.1, 5 - 0.2 * (k % 7), 0.01, 1000) for k in range(20)}
    pairs = [("t", name, "latency_ratio", 2.0, 1.9, 2.1) for name in models]
    drawn = front(run(pairs, t=(95, 0.1, 9, 0.1, 4000), **models))
    on_one = [row.cells[0].text for row in drawn.rows[1:] if "on the front" in [cell.text for cell in row.cells]]
    assert [note.split("`")[1] for note in drawn.notes[:-2]] == on_one
    assert drawn.notes[-2] == f"{20 - len(on_one)} more models are on no front."
    assert 0 < len(on_one) < 20


def test_a_regression_is_put_in_words_by_its_errors(make_record, make_card):
    cards = [make_card(name, classes=None, targets=("price",), training=None) for name in ("teacher", "student-kd")]
    sizes, rmse = {"teacher": 4000, "student-kd": 1000}, {"teacher": 0.5, "student-kd": 0.625}
    measurements = [
        *(measured(name, "size_bytes", size) for name, size in sizes.items()),
        *(measured(name, "rmse", value, interval=bounds(value, 0.01)) for name, value in rmse.items()),
    ]
    both = {"teacher": "teacher", "student": "student-kd"}
    ratios = [
        Pair(metric="size_ratio", value=4.0, **both),
        Pair(metric="rmse_ratio", value=0.8, interval=Interval(low=0.5, high=0.9), **both),
    ]
    record = make_record(models=cards, measurements=measurements, pairs=ratios, warnings=(), recipe=None)
    drawn = front(record)
    assert drawn.notes[0] == ("`student-kd` is 4.00× smaller than `teacher` for an RMSE 1.25× as large [1.11, 2.00].")
    assert [column.head for column in drawn.columns[2:]] == ["Error against size"]
    assert [row.cells[2].text for row in drawn.rows] == ["on the front"] * 2


def test_models_of_different_sessions_are_compared_relative_to_the_one_they_share(run):
    """As measured, `a` is faster than `b`; beside the reference, which its session had slower, it is not."""
    record = run(t=(90, 0.5, 8, 0.2, 4000), a=(80, 0.5, 1.0, 0.05, 1000), b=(85, 0.5, 1.1, 0.05, 1000))
    relative = {"t": (1.0, 1.0, 1.0), "a": (0.15, 0.149, 0.151), "b": (0.12, 0.119, 0.121)}
    more = [
        measured(model, "relative_latency", value, axes=AT, interval=Interval(low=low, high=high))
        for model, (value, low, high) in relative.items()
    ]
    record = record.model_copy(update={"measurements": (*record.measurements, *more), "protocol": {"reference": "t"}})
    assert places(record)["a"][0] == "dominated by `b`"
    assert "relative to t" in planes(record)["latency"].label
