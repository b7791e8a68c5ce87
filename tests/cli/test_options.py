import pytest

from kdbench.cli import options
from kdbench.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20s", 20), ("2m", 120), ("2min", 120), ("500ms", 0.5), ("1.5h", 5400), ("7", 7), (".5", 0.5), (" 3 s ", 3)],
)
def test_durations(text, expected):
    assert options.seconds(text, "--budget") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "s", "-3s", "0s", "3 days", "1e3", "nan", "1,5s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(InputError) as caught:
        options.seconds(text, "--budget")
    assert "--budget" in caught.value.message
    assert "20s" in caught.value.hint


@pytest.mark.parametrize(("text", "expected"), [("5ms", 5), ("1s", 1000), ("0.02s", 20), (".001s", 1)])
def test_milliseconds(text, expected):
    assert options.milliseconds(text, "--gap") == expected


@pytest.mark.parametrize("text", ["0", "0ms", "0.4ms", "1.5ms", "1us", "soon", ""])
def test_what_is_no_whole_number_of_milliseconds_is_refused(text):
    with pytest.raises(InputError, match="--gap") as caught:
        options.milliseconds(text, "--gap")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"), [("0", (0,)), ("2,3", (2, 3)), ("4-7", (4, 5, 6, 7)), ("0,2-3", (0, 2, 3))]
)
def test_cores(text, expected):
    assert options.cores(text, "--cores") == expected


@pytest.mark.parametrize("text", ["", "3-1", "0,", "-1", "a", "0-99999999", "1-2-3"])
def test_what_is_no_list_of_cores_is_refused(text):
    with pytest.raises(InputError, match="--cores") as caught:
        options.cores(text, "--cores")
    assert "4-7" in caught.value.hint


@pytest.mark.parametrize(("text", "expected"), [("5%", 0.05), ("0.05", 0.05), (".5 %", 0.005), ("2.5%", 0.025)])
def test_shares(text, expected):
    assert options.share(text, "--precision") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "0", "0%", "100%", "200%", "5", "-5%", "nan", "few"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InputError, match="--precision") as caught:
        options.share(text, "--precision")
    assert "5%" in caught.value.hint


def test_lists_are_separated_by_commas():
    assert options.counts("1,2,4", "--threads") == (1, 2, 4)
    assert options.numbers(".485,.456,-1", "--mean") == (0.485, 0.456, -1)


@pytest.mark.parametrize("text", ["", "1,,2", "a", "1.5", "nan", "0", "1,-2", "1, 2"])
def test_what_is_no_list_of_counts_is_refused(text):
    with pytest.raises(InputError, match="--threads"):
        options.counts(text, "--threads")


@pytest.mark.parametrize("text", ["", ".1,,.2", "a", "nan,1", "inf"])
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(InputError, match="--mean"):
        options.numbers(text, "--mean")


@pytest.mark.parametrize(
    ("text", "expected"), [("3x32x32", (3, 32, 32)), ("1X28X28", (1, 28, 28)), ("3×8×8", (3, 8, 8))]
)
def test_shapes(text, expected):
    assert options.shape(text, "--input") == expected


@pytest.mark.parametrize("text", ["", "784", "3x32", "3x", "0x3x3", "3,32,32", "axbxc", "-3x3x3", "3x32x32x1"])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(InputError, match="--input"):
        options.shape(text, "--input")


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
