import pytest

from kdbench.cli import options
from kdbench.cli.verdicts import load_targets
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


def test_names_are_separated_by_commas_or_repeated():
    assert options.several_names("--log", ["mlflow, wandb", "tensorboard"]) == ["mlflow", "wandb", "tensorboard"]
    assert options.several_names("--log", None) == []


@pytest.mark.parametrize("texts", [[""], [","], ["mlflow", " "]])
def test_an_option_that_names_nothing_is_an_error(texts):
    """As `--target "$TARGET"` without the variable: a gate without a target would pass."""
    with pytest.raises(InputError, match="--log names nothing"):
        options.several_names("--log", texts)
    with pytest.raises(InputError, match="--target names nothing"):
        load_targets(["server-cpu", texts[-1]])
