"""What a sweep's record keeps of the warnings of its parts."""

import numpy as np

from kdbench.files import storage
from kdbench.recipe.loading import recipe_from
from kdbench.results.cards import ModelCard
from kdbench.results.records import Diagnostic, Environment, RunRecord, measured
from kdbench.workflows.study.plan import plan
from kdbench.workflows.sweeping.existing import PartFolder
from kdbench.workflows.sweeping.merging import _about_parts, _Collected
from kdbench.workflows.sweeping.plan import SweepPlan


def test_equal_warnings_of_many_parts_are_counted_beside_the_first_ones_and_those_of_models_are_all_kept():
    collected = _Collected()
    for part in range(10):
        busy = Diagnostic(code="busy", message=f"other work kept {part} cores busy", remedy="wait")
        virtual = Diagnostic(code="virtual", message="a virtual machine", remedy="")
        collected._add_warnings(
            [busy, virtual, Diagnostic(code="busy", message="its call", remedy="wait", model=f"m{part}")]
        )
    collected._add_warnings([Diagnostic(code="busy", message="all of them", remedy="stop it")])

    kept = [*collected.warnings.values(), *_about_parts(collected)]
    busy = [one.message for one in kept if (one.code, one.remedy, one.model) == ("busy", "wait", None)]
    assert busy == [
        *(f"other work kept {n} cores busy" for n in range(3)),
        "7 more such warnings are in parts/*/record.json",
    ]
    assert [one.model for one in kept if one.model] == [f"m{n}" for n in range(10)]
    assert [one.message for one in kept if one.code == "virtual"] == ["a virtual machine"]
    assert [one.message for one in kept if one.remedy == "stop it"] == ["all of them"]


def test_a_gain_comes_from_its_models_part_alone_and_a_mismatch_from_both(tmp_path):
    """A student that all parts share is compared in each with the students of that part."""
    model, kd = {"name": "mlp", "widths": [8]}, [{"method": "kd"}]
    content = {"name": "tiny", "data": {"name": "digits"}, "teacher": [{"name": "t", "model": "mlp"}]}
    students = [{"name": "kd", "terms": kd}, {"name": "alone-a"}, {"name": "alone-b"}]
    recipe = recipe_from({**content, "student": [{"model": model, **student} for student in students]})
    sweep_plan = SweepPlan(recipe, plan(recipe), (), "kd")
    shared = sweep_plan.parts[0]
    environment = Environment(host={}, libraries={})

    def written(name, own, companions, *measurements):
        ids, folder = (*companions, *own), PartFolder(tmp_path / name)
        cards = tuple(
            ModelCard(
                id=id_, name=id_, role="student", file=f"{id_}.onnx", sha256="0" * 64, input_shape=(64,), classes=10,
                parameters=9,
            )
            for id_ in ids
        )  # fmt: skip
        folder.path.mkdir()
        RunRecord(
            kind="run", name="tiny", created="2026-01-01T00:00:00Z", command="", environment=environment, models=cards,
            measurements=measurements,
        ).write(folder.record)  # fmt: skip
        np.savez(folder.samples, nothing=np.zeros(1))
        storage.write_json(folder.ids, {"models": ids})
        part = type(shared)(name, tuple(own), (), tuple(companions), (), (), ())
        return part, folder

    def gain(beside, value):
        return measured("kd", "top1_gain", value, axes={"beside": beside}, n=360)

    def mismatch(model, beside):
        return measured(model, "mismatches", 3, axes={"beside": beside}, n=360)

    collected = _Collected()
    both = mismatch("kd", "alone-a"), mismatch("alone-a", "kd")
    collected.add(sweep_plan, *written("first", ["kd"], ["alone-a"], gain("alone-a", 1.0), *both))
    collected.add(sweep_plan, *written("second", ["alone-b"], ["kd"], gain("alone-b", 2.0)))
    found = [(m.model, m.metric, m.axes["beside"], m.value) for m in collected.measurements]
    assert ("kd", "top1_gain", "alone-a", 1.0) in found
    assert not [one for one in found if one[2] == "alone-b"], "it is no baseline in the plan"
    collected.add(sweep_plan, *written("third", ["alone-a"], ["kd"], gain("alone-a", 1.0), *both))
    found = [(m.model, m.metric, m.axes["beside"]) for m in collected.measurements]
    assert found.count(("kd", "top1_gain", "alone-a")) == 1
    assert ("alone-a", "mismatches", "kd") in found
