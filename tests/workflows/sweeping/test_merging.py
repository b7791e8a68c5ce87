"""What a sweep's record keeps of the warnings of its parts."""

import numpy as np

from kdbench.files import storage
from kdbench.recipe.loading import recipe_from
from kdbench.results.cards import ModelCard
from kdbench.results.records import Diagnostic, Environment, RunRecord, measured
from kdbench.workflows.study.plan import plan
from kdbench.workflows.sweeping.existing import PartFolder
from kdbench.workflows.sweeping.merging import _Collected
from kdbench.workflows.sweeping.plan import SweepPlan


def test_warnings_of_parts_that_differ_in_quantities_are_one_and_those_of_models_are_all_kept():
    collected = _Collected()
    for part in range(10):
        busy = Diagnostic(code="busy", message=f"other work kept {part + 1}.5 of 16 cores busy", remedy="wait")
        wide = Diagnostic(code="wide", message=f"intervals were up to {7 * part % 10} % wide", remedy="wait")
        collected.add_warnings(
            [busy, wide, Diagnostic(code="busy", message="its call", remedy="wait", model=f"m{part}")]
        )
    collected.add_warnings([Diagnostic(code="busy", message="all of them", remedy="stop it")])

    joined = [(one.code, one.message, one.remedy, one.model) for one in collected.joined_warnings()]
    assert joined == [
        ("busy", "other work kept 1.5 to 10.5 of 16 cores busy", "wait", None),
        ("wide", "intervals were up to 9 % wide", "wait", None),
        *(("busy", "its call", "wait", f"m{n}") for n in range(10)),
        ("busy", "all of them", "stop it", None),
    ]


def test_a_gain_comes_from_its_models_part_alone_and_a_mismatch_from_both_once(tmp_path):
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
    assert found.count(("alone-a", "mismatches", "kd")) == found.count(("kd", "mismatches", "alone-a")) == 1
