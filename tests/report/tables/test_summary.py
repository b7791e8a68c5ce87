import pytest

from kdbench.report import tables
from kdbench.report.axes import configurations, headline
from kdbench.report.cells import Number
from kdbench.report.table import Table
from kdbench.results.records import measured, missing

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}


def column(table: Table, head: str) -> dict[str, str]:
    """Return the texts of a column by the row's first cell; the best in asterisks."""
    index = [c.head for c in table.columns].index(head)
    return {
        row.cells[0].text: f"*{cell.text}*" if isinstance(cell, Number) and cell.best else cell.text
        for row in table.rows
        for cell in [row.cells[index]]
    }


def test_the_summary_has_the_form_of_the_study_reports(sample) -> None:
    table = tables.summary(sample)
    assert [c.head for c in table.columns] == [
        "Model",
        "Top-1",
        "Top-5",
        "Avg. latency",
        "Model size",
        "Energy / run",
        "MACs / batch",
    ]
    assert column(table, "Top-1") == {
        "teacher": "98.33 %",
        "student-alone": "96.11 %",
        "student-kd": "*97.78 %*",
        "student-hint": "97.50 %",
    }
    assert column(table, "Avg. latency")["student-kd"] == "226 µs", "the students share a network: all are as fast"
    assert set(column(table, "Energy / run").values()) == {"n/a (no energy counter could be read)"}


@pytest.mark.parametrize(("protocol", "text"), [({"batch": 64}, "2.4648 G"), ({}, "4.9296 G")])
def test_macs_per_batch_follow_the_protocol_128_by_default(make_record, protocol, text) -> None:
    table = tables.summary(make_record(protocol=protocol))
    assert column(table, "MACs / batch")["teacher"] == text
    assert any(f"batch of {protocol.get('batch', 128)}" in note for note in table.notes)


def test_the_mean_time_of_a_network_competes(make_record, make_card) -> None:
    """`b` is faster than `a`, and slower than the mean of `a` and `a-again`, which differ in their weights only."""
    other = {"options": {"widths": [9]}}
    cards = [make_card("teacher")]
    cards += [
        make_card("student-kd", id=name, name=name, **more) for name, more in (("a", {}), ("again", {}), ("b", other))
    ]
    times = {"teacher": 90e3, "a": 11e3, "again": 8e3, "b": 10e3}
    results = [measured(name, "latency_mean_ns", ns, axes=SINGLE) for name, ns in times.items()]
    table = tables.summary(make_record(models=cards, measurements=results, pairs=(), warnings=()))
    shown = {"teacher": "90.0 µs", "a": "*11.0 µs*", "again": "*8.00 µs*", "b": "10.0 µs"}
    assert column(table, "Avg. latency") == shown
    assert "the mean of their times" in table.notes[-1]


def test_a_model_of_fixed_batch_shows_its_latency_at_that_batch_out_of_contest(make_record, make_card, sample) -> None:
    fixed = make_card("student-kd", id="fixed", name="fixed", fixed_batch=8)
    fast = measured("fixed", "latency_mean_ns", 1000.0, axes={**SINGLE, "batch": 8})
    record = make_record(models=(*sample.models, fixed), measurements=(*sample.measurements, fast))
    latencies = column(tables.summary(record), "Avg. latency")
    assert latencies["fixed"] == "1.00 µs (batch 8)"


def test_the_ratios_tell_what_a_student_gains_and_loses(sample) -> None:
    table = tables.ratios(sample)
    assert [c.head for c in table.columns] == [
        "Student",
        "Teacher",
        "Speed-up",
        "Batched speed-up",
        "Size ratio",
        "MACs ratio",
        "Top-1 drop (points)",
        "Training time",
    ]
    assert column(table, "Speed-up") == {"student-alone": "5.31×", "student-kd": "5.35×", "student-hint": "5.24×"}
    assert column(table, "Batched speed-up")["student-hint"].startswith("n/a (")
    assert column(table, "Top-1 drop (points)")["student-kd"] == "*+0.55*"


def test_an_energy_ratio_has_a_column_once_there_is_one(make_record, sample) -> None:
    pair = sample.pairs[0].model_copy(update={"metric": "energy_ratio", "value": 4.2, "interval": None})
    table = tables.ratios(make_record(pairs=(*sample.pairs, pair)))
    assert column(table, "Energy ratio")["student-alone"] == "4.20×"


def test_fidelity_has_no_number_for_the_teacher_and_says_why_a_student_has_none(sample) -> None:
    table = tables.fidelity(sample)
    assert column(table, "Agreement")["teacher"] == "–"
    assert column(table, "KL to teacher")["student-alone"] == "n/a (the value is nan)"


def test_latency_competes_within_a_configuration(sample) -> None:
    cards = tuple(card.model_copy(update={"architecture": None}) for card in sample.models)
    table = tables.latency(sample.model_copy(update={"models": cards}))
    assert [c.head for c in table.columns][:4] == ["Model", "Threads", "Batch", "p50"]
    flagged = [row.cells[0].text for row in table.rows if isinstance(row.cells[3], Number) and row.cells[3].best]
    assert flagged == ["student-kd", "student-kd"]
    assert "cpu provider" in table.notes[0]


def test_varying_axis_has_a_column(make_record, sample) -> None:
    other = measured("teacher", "latency_p50_ns", 1e6, axes={**SINGLE, "provider": "cuda"})
    heads = [c.head for c in tables.latency(make_record(measurements=(*sample.measurements, other))).columns]
    assert heads[1] == "Provider"


def test_note_explains_several_seeds(seeded) -> None:
    assert any("means over 2 seeds" in note for note in tables.summary(seeded).notes)
    assert len(tables.summary(seeded).rows) == 4
    assert column(tables.training(seeded), "Seeds")["teacher"] == "0, 1"


def test_a_file_that_is_the_same_with_every_seed_is_no_mean(make_record, make_card) -> None:
    cards = [make_card("teacher", id=f"teacher-{seed}", seed=seed, sha256="cd" * 32) for seed in range(2)]
    results = [measured(card.id, "top1", 0.9, n=900) for card in cards]
    record = make_record(models=cards, measurements=results, pairs=(), warnings=())
    assert not any("seeds" in note for note in tables.summary(record).notes)


def test_note_names_the_models_of_one_file_where_most_have_several(make_record, make_card) -> None:
    teachers = [make_card("teacher", id=f"teacher-{seed}", seed=seed, sha256="cd" * 32) for seed in range(2)]
    students = [make_card(name, id=f"{name}-{s}", seed=s) for name in ("student-kd", "student-hint") for s in range(2)]
    record = make_record(models=[*teachers, *students], measurements=(), pairs=(), warnings=())
    (note,) = (note for note in tables.summary(record).notes if "seeds" in note)
    assert note.startswith("All models but `teacher`: ")


def test_tables_without_measurements_are_absent(make_record, make_card) -> None:
    record = make_record(models=[make_card("teacher", training=None)], measurements=(), pairs=(), warnings=())
    assert [table.title for table in tables.build_tables(record)] == ["Summary", "Cost"]
    assert column(tables.summary(record), "Top-1") == {"teacher": "n/a (not measured)"}


def test_a_refused_model_stands_in_every_table_with_its_reason_once(refused) -> None:
    reason = "The ONNX file strays from the network by 0.31 (tolerance 0.0001)."
    built = {table.title: table for table in tables.build_tables(refused)}
    assert list(built) == [
        "Summary",
        "Student against teacher",
        "Front",
        "Fidelity",
        "Latency",
        "Energy",
        "Cost",
        "Start-up and memory",
        "Training",
    ]
    assert built["Energy"].notes[1] == f"No energy of `student-hint`: {reason[0].lower()}{reason[1:]}"
    del built["Energy"]
    for title, table in built.items():
        mine = [row for row in table.rows if row.cells[0].text == "student-hint"]
        assert len(mine) == (2 if title == "Latency" else 1), title
        assert table.footnotes.count(reason) == (0 if title == "Training" else 1), title
        assert not any(cell.text == "–" for row in mine for cell in row.cells), title
    ratios = built["Student against teacher"]
    assert [row.cells[1].text for row in ratios.rows] == ["teacher"] * 3
    assert column(ratios, "Speed-up")["student-hint"] == "n/a (the ONNX file strays from the…)"
    assert column(built["Training"], "Training time")["student-hint"] == "14.9 s"


def test_a_latency_without_axes_is_no_configuration_beside_those_that_have(make_record, sample) -> None:
    bare = missing("student-kd", "latency_p50_ns", "could not be run")
    table = tables.latency(make_record(measurements=(bare, *sample.measurements)))
    assert [row.cells[1:3] for row in table.rows] == [row.cells[1:3] for row in tables.latency(sample).rows]
    assert headline(make_record(measurements=(bare, *sample.measurements))) == headline(sample) == SINGLE
    assert configurations(make_record(measurements=(bare,))) == [{}]


@pytest.mark.parametrize(("counts", "expected"), [((90, 60), True), ((80, 60), False)])
def test_balanced_accuracy_has_a_column_once_classes_are_unbalanced(make_record, counts, expected) -> None:
    classes = (measured("teacher", "class_top1", 0.5, n=n, axes={"class": n}) for n in counts)
    balanced = measured("teacher", "balanced_accuracy", 0.5, n=sum(counts))
    record = make_record(measurements=(balanced, *classes))
    heads = [one.head for one in tables.summary(record).columns]
    assert ("Balanced accuracy" in heads) is expected


def test_a_run_without_times_has_no_columns_of_them(sample) -> None:
    untimed = sample.model_copy(update={"protocol": {**sample.protocol, "times": False}})
    heads = [c.head for c in tables.summary(untimed).columns]
    assert heads == ["Model", "Top-1", "Top-5", "Model size", "MACs / batch"]
    assert "Speed-up" not in [c.head for c in tables.ratios(untimed).columns]
    assert not any("latency" in note or "Speed-up" in note for note in tables.summary(untimed).notes)
