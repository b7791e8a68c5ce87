"""The tables of compressed variants, and what other tables show of models that were not trained."""

import pytest

from kdbench.report import tables
from kdbench.report.tables.compression import compression, noise_by_layer
from kdbench.report.tables.costs import cost
from kdbench.results.cards import CalibrationSet, Variant
from kdbench.results.records import measured

NOISE = {"a": 20.04, "b": 12.5, "c": 31, "d": 15, "e": 18, "f": 25, "|<g>": -1}
FACTS = {
    "int8": {
        "snr_db": 26.43,
        "layer_snr_db": NOISE,
        "kept_float": ["b", "d", "x", "y"],
        "held_out": {"drop_points": 0.3},
    },
    "sparse": {"zero_share": 0.8},
}


def variant(method, **changes):
    calibrated = CalibrationSet(data="digits", count=1256, seed=3, sha256="0" * 64) if method == "int8" else None
    settings = {"calibrator": "mse", "equalize": False, "per_channel": True, "keep_float": ["b"], "min_snr_db": None}
    values = {"of": "student-kd", "source_sha256": "0" * 64, "method": method, "settings": settings, "key": "0"}
    return Variant(**{**values, "facts": FACTS[method], "calibration": calibrated, **changes})


@pytest.fixture
def compressed(sample, make_card):
    """The sample with an INT8 and a sparse variant."""

    def with_variants(**changes):
        made = [
            make_card(
                "student-kd", id=f"kd-{method}", name=f"kd-{method}", role="variant", parents=("student-kd",),
                training=None, variant=variant(method, **changes),
            )
            for method in FACTS
        ]  # fmt: skip
        shares = [measured("kd-int8", "integer_share", 0.75), measured("kd-sparse", "compressed_bytes", 90_000)]
        return sample.model_copy(
            update={"models": (*sample.models, *made), "measurements": (*sample.measurements, *shares)}
        )

    return with_variants


def shown(table):
    heads = [column.head for column in table.columns]
    return [dict(zip(heads, (cell.text for cell in row.cells), strict=True)) for row in table.rows]


def test_each_variant_says_how_it_was_made_and_what_its_method_tells(compressed):
    int8, sparse = shown(compression(compressed()))
    assert int8 == {
        "Model": "kd-int8",
        "Made of": "student-kd",
        "Method": "int8",
        "Settings": "calibrator mse, per_channel",
        "Calibrated on": "1,256 samples of digits (seed 3)",
        "In float": "b, d, x and 1 more",
        "Integer kernels": "75.00 %",
        "Output (dB)": "26.4",
        "Zeros": "–",
        "Held-out drop (points)": "+0.30",
    }
    assert (sparse["Calibrated on"], sparse["In float"], sparse["Zeros"]) == ("–", "–", "80.00 %")


def test_the_noisiest_layers_come_first(compressed):
    rows = shown(noise_by_layer(compressed()))
    assert [(row["Layer"], row["Signal to noise (dB)"]) for row in rows] == [
        ("|<g>", "-1.0"),
        ("b", "12.5"),
        ("d", "15.0"),
        ("e", "18.0"),
        ("a", "20.0"),
    ]


@pytest.mark.parametrize("noise", [[1, 2], {"a": "loud", "b": None, "c": True}, 7, "x"])
def test_what_a_card_from_elsewhere_holds_in_another_form_is_left_out(compressed, noise):
    facts = {"layer_snr_db": noise, "snr_db": noise, "kept_float": 3, "held_out": [1], "zero_share": "much"}
    record = compressed(facts=facts)
    assert not noise_by_layer(record).shown
    assert [row["In float"] for row in shown(compression(record))] == ["–", "–"]


def test_records_without_variants_have_neither_table(sample):
    assert not compression(sample).shown
    assert not noise_by_layer(sample).shown
    assert "Compressed" not in [column.head for column in cost(sample).columns]


def test_a_model_that_was_not_trained_has_no_missing_training_time(compressed, sample):
    times = {row["Student"]: row["Training time"] for row in shown(tables.ratios(compressed()))}
    assert times["student-kd"] == "10.4 s"
    record = compressed()
    pair = sample.pairs[0].model_copy(update={"teacher": "student-kd", "student": "kd-int8"})
    times = shown(tables.ratios(record.model_copy(update={"pairs": (*record.pairs, pair)})))
    assert times[-1]["Training time"] == "n/a (not trained)"


def test_where_nothing_was_trained_there_is_no_column_of_training_times(sample):
    measurements = tuple(m for m in sample.measurements if m.metric != "training_s")
    heads = [column.head for column in tables.ratios(sample.model_copy(update={"measurements": measurements})).columns]
    assert "Training time" not in heads


def test_the_compressed_size_is_a_column_where_it_was_measured(compressed):
    sizes = {row["Model"]: row["Compressed"] for row in shown(cost(compressed()))}
    assert sizes["kd-sparse"] == "90.0 kB"


def test_a_variant_of_a_student_is_shown_against_its_source_and_against_the_teacher(compressed, sample):
    source = next(card.sha256 for card in sample.models if card.id == "student-kd")
    record = compressed(source_sha256=source)
    (drop,) = (pair for pair in sample.pairs if (pair.student, pair.metric) == ("student-kd", "top1_drop"))
    of = {"student": "kd-int8", "interval": None}
    pairs = [
        drop.model_copy(update={**of, "teacher": "teacher", "value": 0.9}),
        drop.model_copy(update={**of, "teacher": "student-kd", "value": 0.4}),
    ]
    record = record.model_copy(update={"pairs": (*record.pairs, *pairs)})
    (row,) = (row for row in shown(tables.ratios(record)) if row["Student"] == "kd-int8")
    assert (row["Teacher"], row["Top-1 drop (points)"]) == ("student-kd", "+0.40")
    (row,) = shown(tables.variants(record))
    assert (row["Variant"], row["Teacher"], row["Top-1 drop (points)"]) == ("kd-int8", "teacher", "+0.90")
    assert row["Size ratio"] == "n/a (not measured)"
    assert not tables.variants(sample).shown
