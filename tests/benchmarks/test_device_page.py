"""The page that compares a device's numbers with the host's, from figures made up for the test."""

from benchmarks import device

VERSIONS = {"host": {"onnxruntime": "1.31.1", "python": "3.11"}, "device": {"onnxruntime": "1.19.2", "python": None}}


def row(metric, host, devices):
    return {"model": "student", "metric": metric, "host": host, "device": devices}


def cells(*rows):
    result = {
        "command": "python -m benchmarks.device digits",
        "cpu": "a processor",
        "repeats": 2,
        "versions": VERSIONS,
        "verdict": "READY",
        "rows": rows,
    }
    text = device.page({"digits": result})
    assert "the host with onnxruntime 1.31.1, python 3.11 and the device with onnxruntime 1.19.2. Verdict: READY." in (
        " ".join(text.split())
    )
    assert "    python -m benchmarks.device digits" in text.splitlines()
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| student")]


def test_values_within_the_other_sides_intervals_are_counted_over_all_pairs():
    host = [[1e6, 0.9e6, 1.1e6], [1.2e6, 1.15e6, 1.25e6]]
    (line,) = cells(row("latency_p50_ns", host, [[1e6, 0.5e6, 2e6], [1.05e6, 1.0e6, 1.1e6]]))
    assert line == ["student", "1.20 ms", "1.05 ms", "-12 %", "2 of 4", "3 of 4"]


def test_speed_ups_have_rows_of_their_own():
    (line,) = cells(row("latency_ratio", [[2.0, 1.9, 2.1]], [[2.2, 2.0, 2.4]]))
    assert line == ["student, speed-up", "2.00×", "2.20×", "10 %", "0 of 1", "1 of 1"]
