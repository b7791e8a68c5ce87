"""The numbers of a trial in a record."""

import pytest

from kdbench.recipe.sweeps.goal import goal_of
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, RunRecord, measured
from kdbench.workflows.searching.trial_result import reading_of


@pytest.mark.parametrize("axes", ["", " at batch=1", " at mode=stream", " at runtime=onnxruntime, threads=1"])
def test_axes_that_records_leave_out_name_the_same_number(axes):
    number = measured("kd", "latency_p50_ns", 5.0, axes={"provider": "cpu", "threads": 1, "batch": 1})
    known = {"kind": "run", "name": "x", "created": "now", "command": ""}
    file = {"file": "kd.onnx", "sha256": "0", "input_shape": (8,), "classes": 2, "parameters": 1}
    card = ModelCard(id="kd", name="kd", role="student", **file)
    environment = Environment(host={}, libraries={})
    record = RunRecord(**known, environment=environment, models=(card,), measurements=(number,))
    assert reading_of(goal_of(f"min latency_p50_ns{axes}").number, record, {None: ["kd"]}, 10).value == 5.0
