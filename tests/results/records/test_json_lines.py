"""Records of many lines are read as any JSON is, in less memory."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.results.records import RunRecord, record
from kdbench.results.records.json_lines import content_hash, read_lines
from kdbench.results.records.record import read_model_ids

WHOLE = Path(__file__).parents[2] / "records" / "digits.json"


@pytest.fixture
def written(tmp_path):
    """Return the file of a record, a line for each result."""
    RunRecord.read(WHOLE).write(tmp_path / "record.json")
    return tmp_path / "record.json"


def test_lines_give_the_same_value_as_the_whole_text(written, monkeypatch):
    whole = RunRecord.model_validate_json(written.read_bytes())
    for batch in (1, 7, 4096):
        monkeypatch.setattr("kdbench.results.records.json_lines._BATCH", batch)
        read = read_lines(RunRecord, written)
        assert read == whole
        assert read.model_fields_set == whole.model_fields_set
        assert read.to_json() == whole.to_json()


def test_the_models_are_read_without_the_results(written, monkeypatch):
    ids = set(RunRecord.read(WHOLE).cards)
    assert read_model_ids(WHOLE) == ids  # in another form
    text = written.read_text()
    written.write_text(text[: text.index('"measurements"')])
    monkeypatch.setattr("kdbench.results.records.json_lines._BATCH", 1)
    assert read_model_ids(written) == ids
    written.write_text(text[: text.index('"architecture"')])
    with pytest.raises(InputError, match="not a readable record"):
        read_model_ids(written)


@pytest.mark.parametrize("changes", [{}, {"pairs": ()}, {"recipe": None}])
def test_the_hash_is_that_of_the_whole_content(changes):
    value = RunRecord.read(WHOLE).model_copy(update=changes)
    assert content_hash(value) == storage.content_hash(value.to_json())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{\n", "{ "),
        ('"models": [\n    {', '"models": [\n     {'),
        ("},\n    {", "}\n    {"),
        ("}\n  ]", "},\n  ]"),
        ('\n  "pairs": [\n', '\n  "measurements": [\n  ],\n  "measurements": [\n'),
        ("\n  ],", "\n   ],"),
        ('"n":', '"n":1234567890123456789012,"m":'),
        ('"name":', '"name": "\\ud800", "other":'),
    ],
)
def test_another_form_is_left_to_the_reader_of_any_json(written, old, new):
    text = written.read_text()
    assert old in text
    written.write_text(text.replace(old, new, 1))
    assert read_lines(RunRecord, written) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"metric":', '"matric":'),
        ('"model":"teacher"', '"model":"nobody"'),
        ('"schema": 1', '"schema": 2'),
        ("\n}\n", "\n}\n}"),
        ('"unit":"share"', '"unit":"share"]'),
    ],
)
def test_an_invalid_record_is_refused_in_the_same_words(written, old, new, monkeypatch):
    text = written.read_text()
    assert old in text
    written.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as usual:
        RunRecord.read(written)
    with pytest.raises(ValidationError):
        assert read_lines(RunRecord, written)
    monkeypatch.setattr(record, "_LARGE", 0)
    with pytest.raises(InputError) as by_lines:
        RunRecord.read(written)
    assert str(by_lines.value) == str(usual.value)


def test_a_large_record_is_read_by_lines_and_any_other_as_it_is(written, monkeypatch):
    expected = RunRecord.read(written)
    monkeypatch.setattr(record, "_LARGE", 0)
    assert RunRecord.read(written) == expected
    written.write_text(json.dumps(json.loads(written.read_text())))
    assert RunRecord.read(written) == expected
