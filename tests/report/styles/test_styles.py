"""The styles: which apply to a run, the heads and figures of their studies, and their files."""

import json
from dataclasses import replace

import pytest
from report.styles.table_rows import heads

from kdbench import report
from kdbench.errors import InputError
from kdbench.report import Content
from kdbench.report.render.markdown import render
from kdbench.report.render.tabular import table_rows
from kdbench.report.styles import STYLES, Layout, lay_out

# The heads as the studies print them. Ours come last where a study's row needs no name and a run's does.
AHAD_SUMMARY = (
    "Model | Top-1 Accuracy | Top-5 Accuracy | Avg. Latency | Model Size | Energy / Run | MACs / Batch"  # section 1
)
AHAD_STANDARDIZATION = (  # section 2.3
    "Setup | KL Divergence (ORIGINAL) | KL Divergence (STANDARDIZED) | Ranking Correlation (Spearman) | "
    "Prediction Correctness"
)
MISMATCHES = (  # section 2.2 says so in a sentence
    "Student | Beside | Mismatches, test | Fixed, test | Made, test | Mismatches, train | Fixed, train | Made, train"
)
AHAD_SIZES = "Model | Parameter Count (Size) | Top-1 Accuracy | Top-5 Accuracy"  # section 4.2
GUPTA_MNIST = (  # table 1
    "Student Layer Size | Temperature | No. of Epochs | Batch Size | Accuracy | Training Time (seconds) | "
    "Inference Time Ratio (Teacher/Student)"
)
GUPTA_CIFAR = (  # table 2
    "Experiment | Accuracy | Training Time (seconds) | Inference Time Ratio (Teacher / Student)"
)
SHIN_CAPACITY = "Student | Teacher | KD Error (%, Train) | KD Error (%, Test)"
SHIN_ERRORS = "Teacher | Teacher Error (%) | Student Error (%)"
SHIN_LOSSES = "Teacher | Top-1 Error (%, Test) | CE (Train) | KL (Train) | KL (Test)"  # the talk's KD is another loss
ROSET_MODELS = "Ref | Model | Top-1 Acc.(%) | Top-5 Acc.(%) | #Params.(M) | #MAdds(M)"  # table 1
ROSET_TRAINED = "Teacher | Mixup | Learning Rate | Temperature | Top-1 Acc.(%)"  # table 2


def undrawn(content):
    """Return a report's content without its figures, which take a second."""
    content.__dict__["drawings"] = []
    return content


@pytest.mark.parametrize(
    ("run", "style", "expected"),
    [
        ("digits_methods", "summary", [AHAD_SUMMARY, MISMATCHES, f"{AHAD_STANDARDIZATION} | Sample", AHAD_SIZES]),
        ("mnist_dense", "ratio", [f"{GUPTA_MNIST} | Student"]),
        ("digits_methods", "ratio", [GUPTA_CIFAR]),
        ("mnist_dense", "sweep", ["Model | Accuracy Score", "Temperature | Accuracy Score", "Epochs | Accuracy Score"]),
        ("digits_methods", "fidelity", [SHIN_CAPACITY, f"{SHIN_ERRORS} | Student", f"{SHIN_LOSSES} | Student"]),
        ("digits", "teachers", [ROSET_MODELS, f"{ROSET_TRAINED} | Student"]),
    ],
)
def test_tables_have_the_studies_heads_in_their_order(records, run, style, expected):
    assert [heads(table) for table in lay_out(records[run], style).tables][: len(expected)] == expected


@pytest.mark.parametrize(
    ("style", "figures"),
    [
        ("summary", ["training_curves"]),
        ("teachers", ["training_curves"]),
        ("sweep", ["sweeps"]),
        ("ratio", []),
        ("fidelity", []),
    ],
)
def test_a_style_has_the_figures_that_its_study_draws(records, style, figures):
    assert [drawing.name for drawing in Content(records["mnist_dense"], style=style).drawings] == figures


@pytest.mark.parametrize(
    ("style", "what"),
    [
        ("sweep", "no sweep"),
        ("ratio", "no inference time ratio"),
        ("teachers", "no student"),
        ("fidelity", "no agreement"),
    ],
)
def test_a_style_that_does_not_apply_says_what_to_run_and_which_styles_do(make_record, sample, style, what):
    record = make_record(models=[sample.models[0]], measurements=sample.measurements[:3], pairs=(), warnings=())
    with pytest.raises(InputError, match=what) as caught:
        lay_out(record, style)
    assert "kdbench run" in caught.value.hint or "kdbench bench" in caught.value.hint
    assert caught.value.hint.endswith("styles that apply to this run: summary")


@pytest.mark.parametrize(
    ("kind", "protocol", "hint"),
    [
        ("run", {"times": False}, "in another folder with --set measure.times=true"),
        ("bench", {"times": False}, "in another folder without --no-times"),
        ("run", {"mode": ["server"]}, """with --set 'measure.mode=["stream"]'"""),
        ("bench", {"mode": ["offline"]}, "with --mode stream"),
    ],
)
def test_a_run_without_ratios_says_how_to_repeat_it(make_record, sample, kind, protocol, hint):
    pairs = tuple(pair for pair in sample.pairs if pair.metric != "latency_ratio")
    record = make_record(kind=kind, protocol=protocol, pairs=pairs)
    with pytest.raises(InputError, match="no inference time ratio") as caught:
        lay_out(record, "ratio")
    assert hint in caught.value.hint


@pytest.mark.parametrize("style", STYLES.names())
def test_every_page_names_its_study_and_where_its_numbers_come_from(records, style):
    text = render(undrawn(Content(records["mnist_dense"], style=style)))
    assert f"Layout after {lay_out(records['mnist_dense'], style).after}" in text
    assert "by `kdbench run mnist_dense --out mnist_dense`." in text
    assert "at commit `43351c5d61f0`" in text
    assert "Metric definitions" not in text


def test_a_style_is_written_beside_the_report_which_stays_as_it_is(records, tmp_path):
    content = undrawn(Content(records["mnist_dense"]))
    report.write(content, tmp_path)
    before = (tmp_path / "report.md").read_bytes()
    files = report.write(replace(content, style="sweep"), tmp_path, ["md", "csv", "json"])
    assert [file.name for file in files] == [
        "report-sweep.md",
        "sweeps.svg",
        "report-sweep.csv",
        "report-sweep-2.csv",
        "report-sweep-3.csv",
        "report-sweep-4.csv",
        "report-sweep.json",
    ]
    assert (tmp_path / "report.md").read_bytes() == before
    written = json.loads((tmp_path / "report-sweep.json").read_text())
    assert [table["title"] for table in written["tables"]][1] == "Accuracy Scores across Temperature: T{temperature}"
    assert written["tables"][1]["rows"][0][0] == "1"
    assert 0.9 < written["tables"][1]["rows"][0][1]["low"] < written["tables"][1]["rows"][0][1]["value"] < 1


def test_csv_has_the_unrounded_number_with_its_bounds_and_the_reason_where_there_is_none(records):
    record = records["digits"]
    heads, first, *_ = table_rows(lay_out(record, "summary").tables[0])
    row = dict(zip(heads, first, strict=True))
    assert row["Model"] == "teacher"
    mean = record.find("teacher", "latency_mean_ns", batch=1)
    assert row["Avg. Latency [ns]"] == mean.value
    assert row["Avg. Latency [ns], low"] == mean.interval.low
    assert row["Energy / Run [J]"] is None
    assert row["missing"].startswith("Energy / Run: ")


def test_a_style_is_one_more_entry_of_the_register(monkeypatch, sample):
    STYLES.names()  # loaded, so that what follows is added to all there are
    monkeypatch.setattr(STYLES, "_entries", dict(STYLES._entries))
    table = lay_out(sample, "summary").tables[0]
    STYLES.register("mine")(lambda record: Layout("a study of mine", (table,)))
    assert Content(sample, style="mine").tables == [table]
    assert Content(sample, style="mine").drawings == []
    with pytest.raises(InputError, match="unknown report style"):
        lay_out(sample, "yours")
