import shlex

import pytest
from compress.networks import convolutional

from kdbench.cli.commands.compress import _describe_size_ratio

FED = ["--data", "digits", "--colour=RGB", "--scale", "16"]


@pytest.fixture
def model(tmp_path):
    return convolutional(tmp_path / "net.onnx")


def test_it_says_what_it_wrote_and_how_to_measure_it(run_cli, model, tmp_path):
    words = ["compress", model, "--method", "int8", *FED, "--calibration-count", 16, "--out", tmp_path / "out", "-q"]
    ended = run_cli(*words, "--set", "int8.keep_float=second", "--calibrator", "entropy", "--json")
    assert ended.code == 0
    (variant,) = ended.json["variants"]
    made = variant["card"]["variant"]
    assert made["settings"]["calibrator"] == "entropy"
    assert made["settings"]["keep_float"] == ["second"]
    assert made["calibration"]["count"] == 16
    assert shlex.split(ended.json["bench"]) == ["kdbench", "bench", str(model), variant["file"], *FED]
    again = run_cli(*words, "--set", "int8.keep_float=['second']", "--set", "int8.calibrator=entropy")
    assert "(kept)" in again.out
    assert f"measure them: {ended.json['bench']}" in again.out


def test_what_was_compressed_without_data_is_measured_without(run_cli, model, tmp_path):
    ended = run_cli("compress", model, "--method", "fp16", "--out", tmp_path / "out", "-q", "--json")
    measured = run_cli(*shlex.split(ended.json["bench"])[1:], "--no-times", "--out", tmp_path / "bench", "-q")
    assert measured.code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "int8"], "--data"),
        (["--method", "int8", "--set", "fp32.x=1", *FED], "fp32"),
        (["--method", "int8", "--calibration-count", "0", *FED], "calibration count is 0"),
        (["--method", "int8", "--no-accuracy"], "--no-accuracy"),
        (["--method", "sparse", "--set", "sparse.sparsity=50"], "write 0.5 for 50 %"),
        (FED, "--method"),
    ],
)
def test_bad_input_ends_with_three(run_cli, model, tmp_path, words, message):
    ended = run_cli("compress", model, *words, "--out", tmp_path / "out")
    assert ended.code == 3
    assert message in ended.err
    assert "hint: " in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(3.476, "3.48× smaller"), (0.5, "2.00× larger"), (1.0, "of the same size"), (0.999, "of the same size")],
)
def test_sizes_are_compared_in_words(ratio, words):
    assert _describe_size_ratio(ratio) == words
