import pytest

from kdbench.cli import options
from kdbench.errors import InputError


def test_assignments_are_toml_or_plain_text():
    pairs = ["width=0.5", "blocks=[1, 2]", "bias=false", "name=plain text", "equation=a=b"]
    assert options.assignments(pairs, "--option") == {
        "width": 0.5,
        "blocks": [1, 2],
        "bias": False,
        "name": "plain text",
        "equation": "a=b",
    }


@pytest.mark.parametrize("text", ["width", "=3", ""])
def test_an_assignment_needs_a_key_and_a_value(text):
    with pytest.raises(InputError, match="key=value"):
        options.assignments([text], "--option")
