"""The record that a workflow assembles from findings."""

import pytest

from kdbench.recipe import Measure
from kdbench.recipe.loading import load_recipe
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Findings
from kdbench.results.records import Diagnostic, Environment, missing
from kdbench.workflows.stages.results import assemble_record

CARD = ModelCard(
    id="m", name="m", role="student", file="m.onnx", sha256="0" * 64, input_shape=(1, 8, 8), classes=10, parameters=1
)
FINDINGS = Findings(
    measurements=(
        missing("m", "latency_p99_ns", "too few samples", hint="give it a longer --budget"),
        missing("m", "energy_j", "no meter"),
    ),
    warnings=(Diagnostic(code="shared_core", message="it is shared", remedy="name others with --cores"),),
)


@pytest.mark.parametrize(
    ("recipe", "hint", "remedy"),
    [
        (None, "give it a longer --budget", "name others with --cores"),
        ("digits", "give it a longer measure.budget_s", "name others with measure.cores"),
    ],
)
def test_hints_name_what_the_command_accepts(recipe, hint, remedy):
    loaded = None if recipe is None else load_recipe(recipe)
    texts = {"kind": "run", "name": "n", "title": "", "command": ""}
    record = assemble_record(
        FINDINGS, Measure(times=False), Environment(host={}, libraries={}), [CARD], recipe=loaded, **texts
    )
    assert [m.hint for m in record.measurements] == [hint, None]
    assert [w.remedy for w in record.warnings] == [remedy]
