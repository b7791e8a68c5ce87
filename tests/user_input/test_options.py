import pytest

from kdbench.errors import InputError
from kdbench.recipe import Measure
from kdbench.user_input import options
from kdbench.user_input.options import INPUTS, MEASURE, Option


def test_every_setting_of_a_measurement_has_an_option():
    assert MEASURE.keys() == Measure.model_fields.keys()


@pytest.mark.parametrize("field", [field for field, option in MEASURE.items() if option.default])
def test_a_default_that_help_shows_is_the_settings(field):
    option = MEASURE[field]
    assert Measure(**{field: option.parse(option.default)}) == Measure()


@pytest.mark.parametrize("option", [*MEASURE.values(), *INPUTS.values()], ids=lambda option: option.name)
def test_an_example_is_one(option):
    for example in filter(None, option.example.replace(" or ", ", ").split(", ")):
        option.parse(example)
    assert not option.help.endswith(".")


def test_an_error_names_the_option_the_value_and_an_example():
    with pytest.raises(InputError) as caught:
        Option("budget", "help", parse=options.seconds, default="20s").read("soon", "--budget")
    assert caught.value.message.startswith("--budget: 'soon' is not a quantity")
    assert caught.value.hint == "for example 20s"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20s", 20), ("2m", 120), ("2min", 120), ("500ms", 0.5), ("1.5h", 5400), ("7", 7), (".5", 0.5), (" 3 s ", 3)],
)
def test_durations(text, expected):
    assert options.seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(("text", "expected"), [("5ms", 5), ("1s", 1000), ("0.02s", 20), (".001s", 1)])
def test_milliseconds(text, expected):
    assert options.milliseconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("0", (0,)), ("2,3", (2, 3)), ("4-7", (4, 5, 6, 7)), ("0,2-3", (0, 2, 3))]
)
def test_cores(text, expected):
    assert options.cores(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("5%", 0.05), ("0.05", 0.05), (".5 %", 0.005), ("2.5%", 0.025)])
def test_shares(text, expected):
    assert options.share(text) == pytest.approx(expected)


def test_lists_are_separated_by_commas():
    assert options.counts("1,2, 4") == (1, 2, 4)
    assert options.numbers(".485,.456,-1") == (0.485, 0.456, -1)
    assert options.names("a, b,") == ("a", "b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3x32x32", (3, 32, 32)), ("1X28X28", (1, 28, 28)), ("3×8×8", (3, 8, 8)), ("20x8", (20, 8)), ("784", (784,))],
)
def test_shapes(text, expected):
    assert options.shape(text) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "cat\r\nhot dog\n\n", ("cat", "hot dog")),
        ("a.txt", "\ufeffcat\ndog", ("cat", "dog")),  # as editors on Windows begin a file
        ("a.json", '["cat", 7]', ("cat", "7")),
        ("a.json", '\ufeff{"9": "b", "11": "d", "10": "c"}', ("b", "c", "d")),
    ],
)
def test_names_of_classes(name, content, expected, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    assert options.labels(str(tmp_path / name)) == expected


@pytest.mark.parametrize(
    "content",
    ['{"0": "a", "2": "b"}', '{"0": ["n01440764", "tench"]}', '{"cat": 0}', '"cat"', "[null]", "{}", "7", "[", "[[]]"],
)
def test_json_that_does_not_name_each_class_is_refused(content, tmp_path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match="consecutive numbers and their names"):
        options.labels(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (options.seconds, ["", "s", "-3s", "0s", "3 days", "nan", "1,5s"]),
        (options.milliseconds, ["0", "0ms", "0.4ms", "1.5ms", "1us", "soon", ""]),
        (options.cores, ["", "3-1", "0,", "-1", "a", "0-99999999", "1-2-3"]),
        (options.share, ["", "0", "0%", "100%", "200%", "5", "-5%", "nan", "few"]),
        (options.count, ["", "0", "-1", "1.5", "many"]),
        (options.counts, ["", "1,,2", "a", "1.5", "nan", "0", "1,-2"]),
        (options.number, ["", "1,2", "a", "inf"]),
        (options.numbers, ["", ".1,,.2", "a", "nan,1", "inf"]),
        (options.shape, ["", "3x", "0x3x3", "3,32,32", "axbxc", "-3x3x3"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_texts_that_cannot_be_read_are_refused(parse, texts):
    for text in texts:
        with pytest.raises(ValueError, match=r"\w"):
            parse(text)
