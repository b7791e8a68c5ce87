"""What no trial of a search would have a number for."""

import pytest

from kdbench.errors import InputError
from kdbench.recipe import Measure
from kdbench.recipe.loading import load_sweep
from kdbench.recipe.sweeps.goal import goal_of
from kdbench.workflows.searching.subject import require_measured, subject_of

CONTENT = {
    "name": "g",
    "data": {"name": "digits"},
    "teacher": [{"name": "teacher", "model": "dense"}],
    "student": [{"name": "kd", "model": "dense", "terms": [{"method": "kd"}]}],
}


@pytest.mark.parametrize(
    ("goal", "measure"),
    [
        ("max top1 where latency_p50_ns at batch=8 <= 1 ms", {"batch": [128]}),
        ("max top1 where latency_p50_ns at threads=2 <= 1 ms", {"threads": [1]}),
        ("max top1 where latency_p50_ns at mode=paced <= 1 ms", {"mode": ["stream"]}),
        ("max top1 where latency_p50_ns at runtime=openvino <= 1 ms", {"runtime": ["onnxruntime"]}),
        ("max top1 where latency_p50_ns at provider=cuda <= 1 ms", {"provider": "cpu"}),
        ("max top1 where energy_j <= 1 J", {"energy": "off"}),
        ("max max_throughput_per_s", {"mode": ["stream"]}),
        ("max top1 where latency_p50_ns <= 1 ms", {"mode": ["offline"]}),
        ("max top1 where latency_ratio >= 2", {"mode": ["offline"]}),
        ("max top1 where latency_ratio >= 2", {"mode": ["server"], "rate_per_s": 80}),
        ("max top1 where latency_ratio at mode=server >= 2", {"mode": ["stream", "server"], "rate_per_s": 80}),
        ("min relative_latency", {"mode": ["server"], "rate_per_s": 80}),
        ("max throughput_per_s", {"mode": ["paced"]}),
        ("max throughput_per_s at mode=paced", {"mode": ["stream", "paced"]}),
        ("min peak_memory_bytes", {"times": False}),
    ],
)
def test_a_number_that_is_not_measured_is_refused(goal, measure):
    with pytest.raises(InputError, match="no trial would have"):
        require_measured(goal_of(goal), Measure(**measure), "classification")


@pytest.mark.parametrize(
    ("goal", "measure"),
    [
        ("max top1 where latency_p50_ns at batch=8, threads=1 <= 1 ms and energy_j <= 1 J", {"batch": [8, 128]}),
        ("max max_throughput_per_s where latency_p50_ns at mode=stream <= 1 ms", {"mode": ["stream", "offline"]}),
        ("min latency_p50_ns", {"mode": ["paced"]}),
        ("min latency_p50_ns at mode=server", {"mode": ["server"], "rate_per_s": 80}),
        ("max latency_ratio", {"mode": ["paced", "server"], "rate_per_s": 80}),
        ("min training_s where size_bytes <= 1 kB", {"times": False}),
    ],
)
def test_a_number_that_is_measured_is_accepted(goal, measure):
    require_measured(goal_of(goal), Measure(**measure), "classification")


def test_axes_of_one_value_leave_nothing_to_search():
    search = {"goal": "max top1"}
    swept = load_sweep(CONTENT, axes={"ce_weight": [0.1, 0.5]}, search=search)
    assert subject_of(goal_of("max top1"), swept.recipe, swept.points[0]) == "kd"
    swept = load_sweep(CONTENT, axes={"ce_weight": [0.5]}, search=search)
    for goal in ("max top1", "max top1 of kd"):
        with pytest.raises(InputError, match="each has only one value") as caught:
            subject_of(goal_of(goal), swept.recipe, swept.points[0])
        assert "several values or a range" in caught.value.hint


def test_a_goal_is_of_a_model_that_the_axes_change():
    swept = load_sweep(CONTENT, axes={"ce_weight": [0.1, 0.5]}, search={"goal": "max top1"})
    assert subject_of(goal_of("max top1 of kd"), swept.recipe, swept.points[0]) == "kd"
    with pytest.raises(InputError, match="do not change teacher") as caught:
        subject_of(goal_of("max top1 of teacher"), swept.recipe, swept.points[0])
    assert caught.value.hint == "name a model that they change: kd"
