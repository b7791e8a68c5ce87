import pytest

from kdbench.results.cards import ModelCard, teacher_behind


def card(id_, role="variant", parents=(), of=None, source="0"):
    variant = None if of is None else {"of": of, "source_sha256": source, "method": "int8", "key": "0"}
    return ModelCard(
        id=id_, name=id_, role=role, parents=parents, file=f"{id_}.onnx", sha256=id_, input_shape=(1, 8, 8),
        classes=10, parameters=1, variant=variant,
    )  # fmt: skip


CARDS = {
    made.id: made
    for made in (
        card("teacher", "teacher"),
        card("student", "student", ("teacher",)),
        card("second", "student", ("student",)),
        card("student-sparse", of="student", source="student"),
        card("student-sparse-int8", of="student-sparse", source="student-sparse"),
        card("second-int8", of="second", source="second"),
        card("teacher-int8", of="teacher", source="teacher"),
        card("of-another-file", of="student", source="changed"),
        card("of-nothing-here", of="nobody", source="x"),
        card("circle", of="circle", source="circle"),
        card("alone", "student", ("nobody",)),
        card("alone-int8", of="alone", source="alone"),
    )
}


@pytest.mark.parametrize(
    ("model", "teacher"),
    [
        ("student-sparse", "teacher"),
        ("student-sparse-int8", "teacher"),
        ("second-int8", "student"),
        ("teacher-int8", "teacher"),
        ("student", None),
        ("of-another-file", None),
        ("of-nothing-here", None),
        ("circle", None),
        ("alone-int8", None),
    ],
)
def test_a_variant_descends_from_the_teacher_of_what_it_was_made_of(model, teacher):
    assert teacher_behind(CARDS[model], CARDS) == teacher
