import pytest

from kdbench.errors import InputError
from kdbench.results.cards import ModelCard
from kdbench.results.comparisons import Comparison
from kdbench.results.run_folder import RunFolder
from kdbench.results.values import checked_id, checked_table
from kdbench.results.verdicts import Criterion, ModelVerdict, Verdict, write_verdicts
from kdbench.user_input.validation import WrongValueError

CARD = ModelCard(
    id="m", name="m", role="student", file="m.onnx", sha256="0" * 64, input_shape=(1, 8, 8), classes=10, parameters=1
)  # fmt: skip
COMPARISON = Comparison(base="a", new="b", created="2025-06-01", overall="same", rows=())
FAILED = Criterion(metric="top1", rule="min", outcome="FAIL")
VERDICT = Verdict(
    target="phone", title="Phone", run="r", record_hash="0" * 64, created="2025-06-01", overall="NOT READY",
    models=(ModelVerdict(model="m", overall="NOT READY", criteria=(FAILED,)),),
)  # fmt: skip


@pytest.mark.parametrize("value", [CARD, COMPARISON, VERDICT], ids=lambda value: type(value).__name__)
def test_a_value_is_read_as_it_was_written(tmp_path, value):
    value.write(tmp_path / "value.json")
    assert type(value).read(tmp_path / "value.json") == value


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [
        (ModelCard, "not a valid model card", "export the model again"),
        (Comparison, "not a valid comparison", "compare again"),
        (Verdict, "not a valid verdict", "judge the run again"),
    ],
)
def test_an_invalid_file_is_refused_with_a_hint(tmp_path, kind, message, hint):
    path = tmp_path / "value.json"
    with pytest.raises(InputError, match=r"no .* at .*value\.json"):
        kind.read(path)
    path.write_text('{"name": 1}')
    with pytest.raises(InputError, match=message) as caught:
        kind.read(path)
    assert hint in caught.value.hint


def test_a_verdict_replaces_the_earlier_one_on_its_target(tmp_path):
    folder = RunFolder(tmp_path)
    assert write_verdicts((), folder) == []
    assert not folder.verdicts.exists()
    for title in ("Phone", "Phone again"):
        (path,) = write_verdicts((VERDICT.model_copy(update={"title": title}),), folder)
    assert [Verdict.read(file).title for file in folder.verdicts.iterdir()] == ["Phone again"]
    assert path == folder.verdict("phone")


@pytest.mark.parametrize("id_", ["student-kd", "m.int8", "\u0645\u0648\u062f\u0644", "<b>", "=1", "a b"])
def test_a_name_that_a_file_can_have_is_an_id(id_: str) -> None:
    assert checked_id(id_) == id_


@pytest.mark.parametrize("id_", ["", " ", ".", "..", "a/b", "a\\b", "a\nb", "a\x1b", "a\u202eb", "a\0", "\ud800"])
def test_other_names_are_no_ids(id_: str) -> None:
    with pytest.raises(WrongValueError, match="the model name"):
        checked_id(id_)


def test_tables_of_any_content_can_be_written_again() -> None:
    deep: dict = {}
    for _ in range(500):
        deep = {"a": [deep]}
    assert checked_table({"a": [{"b": 1.5}]}) == {"a": [{"b": 1.5}]}
    for table in (deep, {"a": [float("inf")]}):
        with pytest.raises(WrongValueError, match=r"deep|finite"):
            checked_table(table)
