"""Code in sentences, where names may have backticks."""

import pytest

from kdbench.report.code_spans import split_code, without_marks


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("Of `a`, `b` and (`c`).", ["a", "b", "c"]),
        ("`a`/`b`: `x=[1, 2]`'s", ["a", "b", "x=[1, 2]"]),
        ("`a`b.onnx` over `c``d`", ["a`b.onnx", "c``d"]),
        ("a`b: the labels of `x`", ["x"]),
        ("no ` code", []),
        ("", []),
    ],
)
def test_code_is_what_stands_between_outer_backticks(sentence, code):
    assert split_code(sentence)[1::2] == code


def test_a_sentence_without_marks_keeps_the_backticks_of_names():
    assert without_marks("`a`b` gains, `c` not.") == "a`b gains, c not."
