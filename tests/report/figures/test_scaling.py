"""Latency over threads and batches, accuracy over each cost, time by layer: which of them there are, and of what."""

import re
import xml.etree.ElementTree as ET

import pytest

from kdbench.report.figures.latency import layer_times
from kdbench.report.figures.scaling import latency_batch, latency_threads
from kdbench.report.figures.tradeoff import accuracy_energy, accuracy_latency, accuracy_size
from kdbench.results.records import Layer, measured, missing

AXES = {"provider": "cpu", "threads": 1, "batch": 1}


def words(svg):
    return {"".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def called(along, values):
    return [
        measured("teacher", metric, value, axes={**AXES, along: at})
        for at in values
        for metric, value in (("latency_p50_ns", 1e6 * at), ("throughput_per_s", 900.0 + at))
    ]


def test_threads_are_drawn_where_there_are_several(make_record):
    drawing = latency_threads(make_record(measurements=called("threads", (1, 2, 4)), pairs=()))
    assert {"1", "2", "4", "teacher", "threads, at batch 1, cpu provider (log scale)"} <= words(drawing.svg)
    assert latency_threads(make_record(measurements=called("threads", (4,)), pairs=())) is None


def test_batches_are_drawn_where_there_are_more_than_every_run_has(make_record):
    drawing = latency_batch(make_record(measurements=called("batch", (1, 8, 128)), pairs=()))
    assert {"8", "128", "median latency of one call (log scale)", "samples per second (log scale)"} <= words(
        drawing.svg
    )
    assert latency_batch(make_record(measurements=called("batch", (1, 128)), pairs=())) is None


def test_another_runtimes_threads_are_no_point_of_the_curve(make_record):
    other = [m.model_copy(update={"axes": {**m.axes, "runtime": "torch"}}) for m in called("threads", (2, 4))]
    assert latency_threads(make_record(measurements=[*called("threads", (1,)), *other], pairs=())) is None


def test_a_model_without_a_number_has_no_curve(make_record):
    lost = [missing("student-kd", "latency_p50_ns", "crashed", axes={**AXES, "threads": at}) for at in (1, 2)]
    drawing = latency_threads(make_record(measurements=[*called("threads", (1, 2)), *lost], pairs=()))
    assert "student-kd" not in drawing.svg


@pytest.mark.parametrize(("figure", "along"), [(latency_threads, "threads"), (latency_batch, "batch")])
def test_an_unstable_point_of_a_curve_is_hollow_and_the_caption_says_so(make_record, figure, along):
    steady = called(along, (1, 2, 4))
    shaky = [
        m.model_copy(update={"status": "unstable", "reason": "drift"}) if m.axes[along] == 4 else m for m in steady
    ]
    drawings = [figure(make_record(measurements=measurements, pairs=())) for measurements in (steady, shaky)]
    assert ["Hollow points are unstable" in drawing.caption for drawing in drawings] == [False, True]
    white = [len(re.findall(r"<use [^>]*fill: #ffffff", drawing.svg)) for drawing in drawings]
    assert white[1] > white[0]


def test_sizes_are_exact_and_files_of_one_size_are_not_drawn(sample, make_record):
    drawing = accuracy_size(sample)
    assert {"model file (log scale)", "1 MB", "student-hint"} <= words(drawing.svg)
    alike = [m.model_copy(update={"value": 381_000.0}) if m.metric == "size_bytes" else m for m in sample.measurements]
    assert accuracy_size(make_record(measurements=alike)) is None


def test_energy_axis_names_scope_and_source(metered):
    assert any("the CPU packages, by rapl" in text for text in words(accuracy_energy(metered).svg))


def test_estimated_energies_are_not_ranked_by_a_front(estimated, sample):
    assert accuracy_energy(estimated) is None
    assert accuracy_energy(sample) is None


def test_caption_explains_hollow_points_only_if_there_are_any(sample, make_record):
    assert "Hollow" not in accuracy_latency(sample).caption
    shaky = [
        m.model_copy(update={"status": "unstable", "reason": "drift"}) if m.metric == "latency_mean_ns" else m
        for m in sample.measurements
        if m.axes.get("batch") != 128
    ]
    assert "Hollow points are unstable" in accuracy_latency(make_record(measurements=shaky, pairs=())).caption


@pytest.mark.parametrize("macs", [100, None])
def test_leading_layers_are_drawn_with_their_macs_where_those_are_known(make_record, macs):
    layers = [
        Layer(
            model="teacher",
            name=f"/features/{'deep/' * 9}conv{number}",
            operator="Conv",
            macs=macs,
            time_ns=10.0,
            time_share=number / 28,
            axes=AXES,
            reason=None if macs else "unknown operator",
        )
        for number in range(8)
    ]
    drawing = layer_times(make_record(layers=layers))
    shown = words(drawing.svg)
    assert {text[-5:] for text in shown if "…" in text} == {f"conv{number}" for number in (7, 6, 5, 4, 3)}
    assert ("MACs" in shown) == (macs is not None)


def test_more_models_than_a_figure_holds_are_counted(make_record, make_card):
    names = [f"m{number}" for number in range(10)]
    cards = [make_card("student-kd", id=name, name=name) for name in names]
    layers = [Layer(model=name, name="conv", operator="Conv", macs=1, time_ns=1.0, time_share=1.0) for name in names]
    drawing = layer_times(make_record(models=cards, layers=layers, measurements=(), pairs=(), warnings=()))
    assert "The table shows 2 more models" in drawing.caption
    assert not re.search("m9", " ".join(words(drawing.svg)))
