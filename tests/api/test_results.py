import math
from dataclasses import replace

import pytest

import kdbench
from kdbench.errors import InputError, StorageError
from kdbench.extras import install
from kdbench.report.tables import TABLES
from kdbench.results.records import measured


@pytest.fixture(scope="module")
def run(workplace):
    return kdbench.Results.read(workplace / "runs/digits")


def test_paths_are_text_or_paths(workplace, run):
    assert kdbench.Results.read(str(workplace / "runs/digits/record.json")).record == run.record
    assert run.folder == workplace / "runs/digits"


def test_results_unpack_as_record_and_folder(run):
    record, folder = run
    assert (record, folder) == (run.record, run.folder)


def test_a_frame_has_every_number(run):
    frame = run.to_frame()
    assert len(frame) == len(run.record.measurements)
    for row, m in zip(frame.to_dict("records"), run.record.measurements, strict=True):
        assert (row["model"], row["metric"], row["unit"], row["status"]) == (m.model, m.metric, m.unit, m.status)
        value = math.nan if m.value is None else m.value
        assert row["value"] == pytest.approx(value, nan_ok=True)
        low = math.nan if m.interval is None else m.interval.low
        assert row["low"] == pytest.approx(low, nan_ok=True)
    pairs = run.to_frame("pairs")
    assert set(pairs.student) == {"student"}
    assert len(pairs) == len(run.record.pairs)


def test_every_table_that_has_numbers_displays_itself(run):
    shown = [build.__name__ for build in TABLES if build(run.record).shown]
    assert {"summary", "ratios"} <= set(shown)
    for name in shown:
        table = run.table(name)
        assert "<table" in table._repr_html_() or not table.table.columns
        assert str(table) == table._repr_markdown_()


def test_a_cell_displays_summary_and_ratios(run):
    html = run._repr_html_()
    assert html.count("<table") == 2
    assert "report.html" in html
    assert "teacher" in repr(run)


def test_objects_print_in_a_few_words_and_tables_as_tables(run):
    # A cell, a debugger and an interactive session print the `repr`.
    study = kdbench.Study.from_toml("digits")
    swept = kdbench.SweepResults(run.content, run.folder, 3, 2, {"student": "out of memory"})
    for value in (run, run.record, run.plot("accuracy_size"), study, swept):
        assert "\n" not in repr(value)
        assert len(repr(value)) < 200 + len(str(run.folder))
    assert "accuracy_size" in repr(run.plot("accuracy_size"))
    assert "2 of 3 points" in repr(swept)
    assert "student-kd" in repr(study)
    assert repr(run.table()) == str(run.table())


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda run: run.table("sumary"), "did you mean 'summary'?"),
        (lambda run: run.table("latency"), "not empty: summary"),
        (lambda run: run.plot("acuracy_latency"), "did you mean 'accuracy_latency'?"),
        (lambda run: run.plot("speedup"), "not empty: accuracy_size"),
        (lambda run: run.find("studnet", "top1"), "did you mean 'student'?"),
        (lambda run: run.find("student", "top2"), "did you mean 'top1'?"),
        (lambda run: run.find("student", "macs", batch=7), "it is there without axes"),
        (lambda run: run.ratio("student", "mac_ratio"), "did you mean 'macs_ratio'?"),
        (lambda run: run.ratio("teacher"), "compared with no teacher"),
        (lambda run: run.to_frame("rows"), "measurements, pairs or layers"),
    ],
)
def test_what_is_not_there_is_said_with_a_way_on(run, call, hint):
    with pytest.raises(InputError) as error:
        call(run)
    assert hint in error.value.hint
    assert error.value.__notes__ == [f"hint: {error.value.hint}"]


def test_of_many_axes_the_hint_names_the_nearest(run):
    axes = [*({"class": f"c{number}"} for number in range(9)), {"class": "c0", "part": "train"}]
    numbers = tuple(measured("student", "class_top1", 0.5, axes=one) for one in axes)
    record = run.record.model_copy(update={"measurements": numbers})
    results = kdbench.Results(replace(run.content, record=record), run.folder)
    with pytest.raises(InputError) as error:
        results.find("student", "class_top1", part="train", **{"class": "dog"})
    assert error.value.hint == "it is there at class c0, part train or at class c0 or at class c1, and 7 more"


def test_the_name_of_a_model_of_several_seeds_is_answered_with_their_ids(run):
    student = run.record.cards["student"]
    seeds = tuple(student.model_copy(update={"id": f"student-seed{seed}", "seed": seed}) for seed in (3, 5))
    record = run.record.model_copy(update={"models": (run.record.cards["teacher"], *seeds)})
    with pytest.raises(InputError) as error:
        kdbench.Results(replace(run.content, record=record), run.folder).find("student", "top1")
    assert error.value.hint == "each seed is a model: student-seed3, student-seed5"


def test_a_figure_is_saved(run, tmp_path):
    figure = run.plot("accuracy_size")
    assert figure.save(str(tmp_path / "figure.svg")).read_text() == figure.svg == figure._repr_svg_()
    assert figure.caption
    assert figure.save(tmp_path / "bare").read_text() == figure.svg
    with pytest.raises(StorageError) as refused:
        figure.save(tmp_path / "bare" / "figure.svg")
    assert refused.value.hint == "choose another folder"


def test_a_figure_is_not_saved_under_the_name_of_another_format(run, tmp_path):
    with pytest.raises(kdbench.KdbenchError, match=r"a figure is an SVG document, not a \.png file") as error:
        run.plot("accuracy_size").save(tmp_path / "figure.png")
    assert error.value.hint == f"save {tmp_path / 'figure.svg'}"
    assert not any(tmp_path.iterdir())


def test_without_pandas_the_extra_is_named(run, monkeypatch):
    monkeypatch.setattr("kdbench.extras._installed", lambda module: module != "pandas")
    with pytest.raises(kdbench.KdbenchError) as error:
        run.to_frame()
    assert error.value.hint == install("notebook")
