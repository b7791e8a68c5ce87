"""Energy in the report: the table, the summary's column, training, and what is said of how it was metered."""

import pytest

from kdbench.report import tables
from kdbench.report.cells import Number
from kdbench.report.model_groups import model_groups
from kdbench.report.tables.energy import energy, energy_per_run, energy_ratio, format_scope, run_batch
from kdbench.report.tables.training import training
from kdbench.report.text import method
from kdbench.results.records import measured, missing

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}


def heads(table):
    return [column.head for column in table.columns]


def cells(table, label, **where):
    """Return the texts of the row of `label` whose other words are `where`, by their heads."""
    for row in table.rows:
        texts = dict(zip(heads(table), (cell.text for cell in row.cells), strict=True))
        if row.cells[0].text == label and where.items() <= texts.items():
            return texts
    raise AssertionError(f"no row of {label} at {where}")


def column(table, head):
    index = heads(table).index(head)
    return {row.cells[0].text: row.cells[index] for row in table.rows}


def without_energies(record):
    return [m for m in record.measurements if not m.metric.startswith(("energy_", "co2_"))]


def test_models_have_a_row_per_batch_with_gross_net_run_and_ratio(metered) -> None:
    table = energy(metered)
    assert heads(table) == [
        "Model",
        "Batch",
        "Energy / inference",
        "Net / inference",
        "Energy / run",
        "CO₂e / inference",
        "Energy ratio",
    ]
    assert cells(table, "student-alone", Batch="128") == {
        "Model": "student-alone",
        "Batch": "128",
        "Energy / inference": "4.52 ± 0.14 mJ",
        "Net / inference": "3.70 ± 0.11 mJ",
        "Energy / run": "579 ± 17 mJ",
        "CO₂e / inference": "477 ± 14 ng",
        "Energy ratio": "7.63×",
    }
    assert cells(table, "teacher", Batch="1")["Energy ratio"] == "–"
    assert cells(table, "student-kd", Batch="1")["Net / inference"] == "n/a (within its uncertainty of 0)"
    assert cells(table, "student-kd", Batch="128")["Energy / inference"] == "4.49 ± 0.13 mJ (unstable)"
    assert table in tables.build_tables(metered)


def test_the_least_energy_of_a_batch_is_the_best_an_unstable_one_too(metered) -> None:
    cards = tuple(card.model_copy(update={"architecture": None}) for card in metered.models)
    rows = energy(metered.model_copy(update={"models": cards})).rows
    flagged = [(row.cells[0].text, row.cells[1].text) for row in rows if row.cells[2].best]
    assert flagged == [("student-kd", "1"), ("student-kd", "128")]


def test_the_notes_say_what_was_metered_by_what_and_how(metered) -> None:
    text = " ".join(energy(metered).notes)
    assert "net energy excludes the idle power" in text
    assert "All at 1 thread, cpu provider." in text
    assert (
        "Metered: the CPU packages (`cpu.package`), by rapl: 1 package; updated every 1.00 ms; idle power 20.1 W "
        "before the windows, 20.3 W after."
    ) in text
    assert "median of 5 interleaved windows of at least 10 s (full mode)" in text
    assert "380 g per kWh, the carbon intensity of electricity in Germany (codecarbon 3.3.2)" in text
    assert "estimate" not in text
    assert "Quick" not in text
    assert text.endswith("No energy of `student-hint`: killed by signal 9. Give it more memory.")


def test_notes_warn_about_quick_windows(metered) -> None:
    quick = {**metered.protocol["energy_pass"], "mode": "quick", "window_s": 0.5, "resolution": 0.025}
    record = metered.model_copy(update={"protocol": {**metered.protocol, "energy_pass": quick}})
    text = " ".join(energy(record).notes)
    assert "5 interleaved windows of at least 0.5 s (quick mode)" in text
    assert "±5 %" in text


def test_estimates_are_marked_and_never_best(estimated) -> None:
    table = energy(estimated)
    assert cells(table, "student-alone") == {
        "Model": "student-alone",
        "Batch": "1",
        "Energy / inference": "~14 mJ (est.)",
        "Energy / run": "~14 mJ (est.)",
        "Energy ratio": "~5.1× (est.)",
    }
    numbers = [
        cell
        for built in (table, tables.summary(estimated), tables.ratios(estimated), training(estimated))
        for row in built.rows
        for cell in row.cells
        if isinstance(cell, Number) and cell.evidence == "estimated"
    ]
    assert len(numbers) > 12
    assert not any(cell.best or cell.interval_text for cell in numbers)
    text = " ".join(table.notes)
    assert "Estimated: the CPU (`cpu.estimate`), by codecarbon" in text
    assert "`~` marks an estimate: CPU time × assumed TDP." in text
    assert "±" not in text  # estimates have no uncertainty that quick windows could be part of


def test_scopes_are_listed_headline_first_sum_last(metered_gpu) -> None:
    table = energy(metered_gpu)
    assert heads(table)[:3] == ["Model", "Batch", "Scope"]
    by_scope = list(dict.fromkeys(row.cells[2].text for row in table.rows))
    assert by_scope == ["gpu0.board", "cpu.package", "gpu0.board + cpu.package"]
    assert cells(table, "teacher", Batch="1", Scope="gpu0.board")["Energy / run"] == "216 ± 6 mJ"
    assert cells(table, "teacher", Batch="1", Scope="cpu.package")["Energy / run"] == "72 ± 2 mJ"
    both = cells(table, "student-kd", Batch="1", Scope="gpu0.board + cpu.package")
    assert (both["Energy / run"], both["Energy ratio"]) == ("56.1 ± 1.7 mJ", "–")
    text = " ".join(table.notes)
    assert "by nvml: total energy counter; updated every 102 ms" in text
    assert "no part in common: the board of GPU 0 and the CPU packages." in text


def test_a_model_that_failed_at_one_batch_keeps_its_row_there(metered) -> None:
    at = {**SINGLE, "batch": 128}
    failed = [
        missing(m.model, m.metric, "killed", status="error", axes=at)
        if (m.model, m.axes) == ("student-alone", at) and m.metric.startswith("energy_")
        else m
        for m in metered.measurements
    ]
    row = cells(energy(metered.model_copy(update={"measurements": failed})), "student-alone", Batch="128")
    assert row["Energy / inference"] == row["Net / inference"] == row["Energy / run"] == "n/a (killed)"


def test_where_nothing_was_metered_one_sentence_says_why_and_what_would_help(make_record, sample) -> None:
    reasons = [
        missing(m.model, m.metric, "RAPL: permission denied", hint="run as root", axes=m.axes)
        for m in sample.measurements
        if m.metric.startswith("energy_")
    ]
    record = make_record(measurements=[*without_energies(sample), *reasons])
    table = energy(record)
    assert (table.columns, table.rows) == ((), ())
    assert table.notes == ("No energy was measured: RAPL: permission denied. Run as root.",)
    assert table in tables.build_tables(record)
    assert {cell.text for cell in column(tables.summary(record), "Energy / run").values()} == {
        "n/a (RAPL: permission denied)"
    }


@pytest.mark.parametrize("reason", ["energy is switched off", "energy was not asked for"])  # now, and in older records
def test_energy_that_was_not_requested_has_no_section(make_record, sample, reason) -> None:
    not_requested = missing("teacher", "energy_j", reason, axes=SINGLE)
    record = make_record(measurements=[*without_energies(sample), not_requested])
    assert "Energy" not in {table.title for table in tables.build_tables(record)}
    assert "Energy" not in {
        table.title for table in tables.build_tables(make_record(measurements=without_energies(sample)))
    }


def test_the_summary_has_the_energy_of_the_largest_batch_and_says_of_what(metered, metered_gpu) -> None:
    assert column(tables.summary(metered), "Energy / run")["teacher"].text == "4.42 ± 0.13 J"
    note = "Energy / run: gross energy of one call at batch 128, 1 thread, cpu provider; "
    assert f"{note}the CPU packages, by rapl." in tables.summary(metered).notes
    assert f"{note}the board of GPU 0, by nvml." in tables.summary(metered_gpu).notes
    assert column(tables.summary(metered_gpu), "Energy / run")["teacher"].text == "13.2 ± 0.4 J"


def test_the_summary_falls_back_to_the_batch_that_there_is(estimated) -> None:
    assert run_batch(estimated) == 1
    assert column(tables.summary(estimated), "Energy / run")["teacher"].text == "~72 mJ (est.)"
    note = "Energy / run: estimated energy of one call at batch 1, 1 thread, cpu provider; the CPU, by codecarbon."
    assert note in tables.summary(estimated).notes


def test_a_model_of_fixed_batch_shows_its_energies_at_that_batch_out_of_contest(metered, make_card) -> None:
    fixed = make_card("student-kd", id="fixed", name="fixed", fixed_batch=8)
    at = {**SINGLE, "batch": 8}
    little = [measured("fixed", metric, 1e-6, axes=at) for metric in ("energy_j", "energy_run_j")]
    pair = next(p for p in metered.pairs if p.metric == "energy_ratio")
    huge = pair.model_copy(update={"student": "fixed", "axes": at, "value": 99.0, "interval": None})
    changes = {"models": (*metered.models, fixed), "measurements": (*metered.measurements, *little)}
    record = metered.model_copy(update={**changes, "pairs": (*metered.pairs, huge)})
    (group,) = [s for s in model_groups(record) if s.label == "fixed"]
    for cell, text in ((energy_per_run(record, group), "1.00 µJ"), (energy_ratio(record, group), "99.0×")):
        assert (cell.text, cell.competes) == (f"{text} (batch 8)", False)
    assert run_batch(record) == 128
    assert cells(energy(record), "fixed")["Batch"] == "8"


def test_a_reason_at_another_batch_than_the_largest_is_shown(make_record, sample) -> None:
    reason = missing("teacher", "energy_run_j", "NVML: not supported", axes=SINGLE)
    record = make_record(measurements=[*without_energies(sample), reason])
    assert column(tables.summary(record), "Energy / run")["teacher"].text == "n/a (NVML: not supported)"
    inference = missing("teacher", "energy_j", "RAPL: no counters", axes=SINGLE)
    record = make_record(measurements=[*without_energies(sample), inference])
    assert column(tables.summary(record), "Energy / run")["teacher"].text == "n/a (RAPL: no counters)"


def test_energy_ratios_are_at_batch_1(metered) -> None:
    swapped = metered.model_copy(update={"pairs": tuple(reversed(metered.pairs))})
    for record in (metered, swapped):
        assert column(tables.ratios(record), "Energy ratio")["student-kd"].text == "5.14×"
    assert tables.ratios(metered).notes[-1] == (
        "Energy ratio: gross energy per inference at batch 1, from interleaved windows; the CPU packages, by rapl."
    )


def test_training_table_has_energy_by_scope_and_emissions(metered, metered_gpu, sample) -> None:
    assert heads(training(metered))[-3:] == ["Training time", "Training energy", "Training CO₂e"]
    assert cells(training(metered), "teacher")["Training energy"] == "2.15 kJ"
    assert cells(training(metered), "teacher")["Training CO₂e"] == "227 mg"
    assert "380 g per kWh" in training(metered).notes[-1]
    of_gpu = training(metered_gpu)
    assert heads(of_gpu)[-2:] == ["Training energy, cpu.package", "Training energy, gpu0.board + cpu.package"]
    assert cells(of_gpu, "teacher")["Training energy, cpu.package"] == "2.15 kJ"
    assert cells(of_gpu, "teacher")["Training energy"] == "6.45 kJ"
    text = "Training energy: gross, over the epochs, validation included; the board of GPU 0, by nvml."
    assert of_gpu.notes[1:] == (text,)
    assert heads(training(sample))[-1] == "Training time"
    assert not any("energy" in note for note in training(sample).notes)


def test_note_marks_estimated_training_energy(estimated) -> None:
    assert cells(training(estimated), "teacher")["Training energy"] == "~2.2 kJ (est.)"
    assert training(estimated).notes[-1].endswith("It is an estimate and not comparable with measurements.")


def test_energy_method_is_explained_only_for_measured_energies(metered, estimated, sample) -> None:
    (note,) = [note for note in method.notes(metered) if note.startswith("Energy")]
    assert "half of a 95 % interval" in note
    for record in (estimated, sample):
        assert not [note for note in method.notes(record) if note.startswith("Energy")]


def test_protocol_is_listed_with_units(metered) -> None:
    text = {row.cells[0].text: row.cells[1].text for row in method.environment(metered).rows}
    assert "window (s) 10" in text["protocol: energy pass"]
    assert "idle (W) 20.1, 20.2, 20.2, 20.3, 20.2, 20.3" in text["protocol: energy pass"]
    assert "update period (ms) 1," in text["protocol: energy pass"]
    assert "g (per kWh) 380.1" in text["protocol: carbon"]


def test_record_without_energy_protocol_has_no_window_note(metered) -> None:
    bare = {key: value for key, value in metered.protocol.items() if key not in {"energy_pass", "carbon"}}
    notes = energy(metered.model_copy(update={"protocol": bare})).notes
    assert len(notes) == 2  # what gross and net are, and who has none


def test_cost_table_has_no_energy(metered) -> None:
    (cost,) = [table for table in tables.build_tables(metered) if table.title == "Cost"]
    assert not [head for head in heads(cost) if "nergy" in head]


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("cpu.package", "the CPU packages"),
        ("gpu3.board + cpu.package", "the board of GPU 3 and the CPU packages"),
        ("platform", "the whole platform"),
        ("some.thing", "some.thing"),
    ],
)
def test_scopes_in_words(scope: str, words: str) -> None:
    assert format_scope(scope) == words
