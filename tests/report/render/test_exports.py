"""What other tools read: cards for the Hugging Face Hub, CycloneDX, and the columns of MLPerf's summaries."""

import csv
import io
import json
import re
import sys
from dataclasses import replace

import pytest

from kdbench.errors import InputError
from kdbench.report import Content, write
from kdbench.report.render import cyclonedx, hub_card, mlperf
from kdbench.results.cards import Variant

HOSTILE = 'x"]: #\n---\n$(id) \x1b[31m\u202e<b>'


def hostile(record, name=HOSTILE):
    cards = [card.model_copy(update={"name": name}) if card.id == "student-kd" else card for card in record.models]
    return record.model_copy(update={"models": tuple(cards)})


class TestHubCard:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra hub)")

    def head(self, tmp_path, record, model="student-kd"):
        from huggingface_hub import ModelCard

        write(record, tmp_path, ("hub-card",))
        return ModelCard((tmp_path / "hub-cards" / f"{model}.md").read_text(encoding="utf-8"))

    def test_the_hub_reads_the_results(self, tmp_path, sample):
        card = self.head(tmp_path, sample)
        results = {(r.metric_name, r.metric_type): r for r in card.data.eval_results}
        top1 = sample.find("student-kd", "top1")
        assert results["Top-1", "accuracy"].metric_value == top1.value
        assert results["Top-1", "accuracy"].task_type == "image-classification"
        assert card.data.model_name == "student-kd"
        assert {"kdbench", "onnx"} <= set(card.data.tags)

    def test_the_text_has_the_model_and_its_teacher_only(self, tmp_path, sample):
        text = self.head(tmp_path, sample).text
        assert "| `student-kd` |" in text
        assert "| `teacher` |" in text
        assert "student-hint" not in text

    def test_a_users_own_files_are_not_named(self, tmp_path, sample):
        recipe = {**(sample.recipe or {}), "data": {"name": "folder:/home/someone/pictures"}}
        write(sample.model_copy(update={"recipe": recipe}), tmp_path, ("hub-card",))
        assert "someone" not in (tmp_path / "hub-cards" / "student-kd.md").read_text()

    def test_a_hostile_name_stays_a_name(self, tmp_path, sample):
        card = self.head(tmp_path, hostile(sample))
        assert set(card.data.to_dict()) <= {"datasets", "library_name", "pipeline_tag", "tags", "model-index"}
        assert "\x1b" not in card.text
        assert "<b>" not in re.sub(r"`[^`]*`|\\<b>", "", card.text)

    def test_no_text_of_the_record_acts_on_who_reads_the_card(self, tmp_path, sample):
        recipe = {**(sample.recipe or {}), "data": {"name": HOSTILE}}
        protocol = {**sample.protocol, "test_set_sha256": 5}
        for changed in ({"recipe": recipe}, {"recipe": None, "protocol": protocol}):
            write(sample.model_copy(update=changed), tmp_path, ("hub-card",))
            text = (tmp_path / "hub-cards" / "student-kd.md").read_text(encoding="utf-8")
            assert not {"\x1b", "\u202e"} & {*text}

    def test_without_the_library_the_extra_is_named(self, tmp_path, sample, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(InputError) as error:
            hub_card.write(Content(sample), tmp_path)
        assert "kdbench[hub]" in error.value.hint


class TestCycloneDx:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed (extra bom)")

    def bill(self, record, verdicts=()):
        return cyclonedx.bom(replace(Content(record), verdicts=tuple(verdicts)))

    def test_it_is_valid(self, sample):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        for record in (sample, hostile(sample)):
            assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(self.bill(record)) is None

    def test_it_has_every_model_with_its_hash_and_numbers(self, sample):
        content = json.loads(self.bill(sample))
        models = {c["bom-ref"]: c for c in content["components"] if c["type"] == "machine-learning-model"}
        assert set(models) == {card.id for card in sample.models}
        for card in sample.models:
            assert models[card.id]["hashes"] == [{"alg": "SHA-256", "content": card.sha256}]
        properties = {p["name"]: p["value"] for p in models["student-kd"]["properties"]}
        assert float(properties["kdbench:top1"].split()[0]) == sample.find("student-kd", "top1").value
        assert "kdbench:energy_j" not in properties  # there is no number

    def test_a_variant_depends_on_its_source(self, sample):
        variant = Variant(of="student-kd", source_sha256="0" * 64, method="int8", key="k")
        cards = [c.model_copy(update={"variant": variant}) if c.id == "student-hint" else c for c in sample.models]
        content = json.loads(self.bill(sample.model_copy(update={"models": tuple(cards)})))
        depends = {d["ref"]: d.get("dependsOn", []) for d in content["dependencies"]}
        assert depends["student-hint"] == ["student-kd"]

    def test_a_record_that_was_edited_gives_no_invalid_bill(self, sample):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        with pytest.raises(InputError, match="time 'yesterday'"):
            self.bill(sample.model_copy(update={"created": "yesterday"}))
        cards = [card.model_copy(update={"sha256": "x", "id": "run"}) for card in sample.models[:1]]
        changed = {"models": tuple(cards), "measurements": (), "pairs": (), "layers": ()}
        bill = self.bill(sample.model_copy(update=changed))
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
        references = re.findall(r'"bom-ref": "([^"]*)"', bill)
        assert len(references) == len(set(references)) > 1

    def test_the_same_record_gives_the_same_bill(self, sample):
        assert self.bill(sample) == self.bill(sample)


def rows(record):
    return list(csv.DictReader(io.StringIO(mlperf.table(record))))


def test_mlperfs_single_stream_is_the_90th_percentile_at_batch_1(sample):
    by_model = {row["Model"]: row for row in rows(sample) if row["Scenario"] == "SingleStream"}
    expected = {
        m.model: m.value
        for m in sample.measurements
        if m.metric == "latency_p90_ns" and m.axes.get("batch") == 1 and m.value is not None
    }
    assert {model: float(row["Result"]) for model, row in by_model.items()} == expected
    assert expected
    assert all(row["compliance"] == "not an MLPerf submission" for row in by_model.values())


def test_mlperfs_scenarios_are_by_mode(sample):
    from kdbench.results.records import measured

    more = (
        measured(
            "teacher",
            "max_throughput_per_s",
            900.0,
            axes={"provider": "cpu", "threads": 1, "batch": 8, "mode": "offline"},
        ),
        measured(
            "teacher", "latency_p99_ns", 5e6, axes={"provider": "cpu", "threads": 1, "batch": 1, "mode": "server"}
        ),
        measured("teacher", "latency_p90_ns", 7e6, axes={"provider": "cpu", "threads": 1, "batch": 1, "mode": "paced"}),
    )
    by_scenario = {row["Scenario"]: row for row in rows(sample.model_copy(update={"measurements": more}))}
    assert {s: (float(r["Result"]), r["Units"]) for s, r in by_scenario.items()} == {
        "Offline": (900.0, "Samples/s"),
        "Server": (5e6, "Latency (ns)"),
    }
