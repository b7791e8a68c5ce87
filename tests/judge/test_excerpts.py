"""An excerpt read from a file is that of the whole record, and damage to what it keeps is found."""

import json
import random
from pathlib import Path

import pytest
from judge.dated_runs import latency, record

from benchmarks.faults.material import mutations
from benchmarks.faults.material.small_record import small_record
from kdbench.errors import InputError
from kdbench.judge.excerpts import MAIN, Excerpt
from kdbench.judge.located_records import locate_records
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import DeviceRun, Environment, RunRecord
from kdbench.results.records.devices import with_device

RECORDS = Path(__file__).parents[1] / "records"
EVERY = {*METRICS, *PAIR_METRICS}


@pytest.mark.parametrize("name", ["digits", "digits_methods", "mnist_noise"])
@pytest.mark.parametrize("metrics", [MAIN, EVERY], ids=["main", "every"])
def test_reading_equals_the_excerpt_of_the_whole_record(name, metrics):
    file = RECORDS / f"{name}.json"
    assert Excerpt.read(file, metrics) == Excerpt.of(RunRecord.read(file), metrics)


def test_devices_are_no_part_of_it(tmp_path):
    board = DeviceRun(
        name="board", target="t", created="2026-01-01", bundle="b", result="r", complete=True,
        environment=Environment(host={}, libraries={}),
    )  # fmt: skip
    with_device(record(0, latency(1.0)), board, [latency(2.0)], []).write(tmp_path / "record.json")
    (finding,) = Excerpt.read(tmp_path, MAIN).findings("latency_p50_ns")
    assert finding.value == 1.0


def test_damaged_records_are_refused_or_give_what_a_whole_record_gives(tmp_path):
    file, dice, content = tmp_path / "record.json", random.Random(0), small_record()
    for _ in range(150):
        file.write_bytes(mutations.json_text(content, dice))
        try:
            whole = Excerpt.of(RunRecord.read(file), EVERY)
        except InputError:
            whole = None
        try:
            excerpt = Excerpt.read(file, EVERY)
        except InputError:
            assert whole is None
            continue
        assert whole is None or whole == excerpt
        excerpt.model_dump_json().encode()
        assert all(excerpt.findings(metric) for metric in excerpt.metrics)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(schema=2),
        lambda content: content.update(kind="other"),
        lambda content: content.pop("environment"),
        lambda content: content["models"].append(content["models"][0]),
        lambda content: content["models"].pop(),
        lambda content: content["measurements"][0].update(metric="unknown"),
        lambda content: content["measurements"][0].update(value=1e999),
        lambda content: content["measurements"][0].update(unit="s"),
        lambda content: content["measurements"][0].update(n=10**30),
    ],
    ids=range(9),
)
def test_what_it_keeps_is_checked(change, tmp_path):
    content = json.loads(json.dumps(record(0, latency(1.0)).to_json()))
    change(content)
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(InputError):
        Excerpt.read(tmp_path / "record.json", MAIN)


def test_a_record_is_part_of_a_history_whatever_its_layers_are(tmp_path):
    for day in range(2):  # two with one name and time may be copies, which their whole content says
        content = record(0, latency(1.0)).to_json() | {"layers": [{"name": 1}], "title": str(day)}
        (tmp_path / str(day)).mkdir()
        (tmp_path / str(day) / "record.json").write_text(json.dumps(content))
    located, notes = locate_records([tmp_path])
    assert [one.run for one in located] == ["0", "1"]
    assert notes == []
