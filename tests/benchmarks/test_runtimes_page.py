"""The page of the comparison with the runtimes' own tools, from figures made up for the test."""

from benchmarks.runtimes import page

ENVIRONMENT = {"host": {"cpu": "a processor", "python": "CPython 3.11"}, "libraries": {"openvino": "2026.4.1"}}
MACHINE = {"seconds": 3.0, "others_cores": 0.0, "stolen_cores": 0.0, "preemptions_per_s": 1.5}


def repeat(tool, shown, defined=None):
    facts = {"model": "mnist8", "runtime": "openvino", "tool": tool, "machine": MACHINE, "commit": "c0ffee"}
    facts["p50_ns"] = {"kdbench": shown[0], tool: shown[1]}
    if defined:
        facts["defined_ns"] = {"kdbench": defined[0], tool: defined[1]}
    return {**facts, "samples": 200, "correct": {"kdbench": 198, tool: 198}, "changed": 0}


def test_the_goal_is_judged_by_the_times_of_one_definition():
    repeats = [repeat("benchmark_app", (58e3, 46e3), (47e3, 46e3)), repeat("node-loop", (220e3, 200e3))]
    settings = {"seconds": 2.0, "samples": 200, "arguments": "mnist8.onnx=mnist"}
    text = page.rendered({"settings": settings, "environment": ENVIRONMENT, "repeats": repeats})
    assert "1 of 2 are within it, and the largest is 10 % (**missed**)" in " ".join(text.split())
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `mnist8`")]
    assert [line[5:7] for line in lines] == [["+26.1 %", "+2.2 %"], ["+10.0 %", "+10.0 %"]]
