import pytest

from kdbench.recipe.loading import recipe_from
from kdbench.recipe.sweeps.points import swept
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study.plan import plan
from kdbench.workflows.sweeping.existing import part_folder
from kdbench.workflows.sweeping.plan import SweepPlan, reference_of
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep, with_reference

MLP = {"name": "mlp", "widths": [9]}
KD = [{"method": "kd"}]


def planned(*students, axes=None, seeds=1, **keys):
    base = {"name": "x", "data": {"name": "digits"}, "teacher": [{"name": "t", "model": "mlp"}], **keys}
    content, points = swept({**base, "student": list(students), "sweep": {"axes": axes or {}, "seeds": seeds}})
    recipe = recipe_from(content)
    jobs = plan(recipe)
    return SweepPlan(recipe, jobs, points, reference_of(jobs))


ALONE, DISTILLED = {"name": "alone", "model": MLP}, {"name": "kd", "model": MLP, "terms": KD}
TEMPERATURES = {"terms.0.temperature": [1, 4]}


def test_models_at_one_place_are_measured_together_beside_what_they_are_compared_with():
    parts = planned(ALONE, DISTILLED, axes=TEMPERATURES).parts
    assert [(part.jobs, part.companions, part.timed) for part in parts] == [
        (("t", "alone"), (), ("t", "alone")),
        (("kd-temperature1",), ("t", "alone"), ("t", "kd-temperature1")),
        (("kd-temperature4",), ("t", "alone"), ("t", "kd-temperature4")),
    ]
    assert len({part.id for part in parts}) == 3


def test_other_seeds_are_scored_without_the_reference():
    parts = planned(ALONE, DISTILLED, axes=TEMPERATURES, seeds=2).parts
    assert [part.timed for part in parts[:3]] == [
        ("t-seed0", "alone-seed0"), ("t-seed0", "kd-temperature1-seed0"), ("t-seed0", "kd-temperature4-seed0"),
    ]  # fmt: skip
    assert [(part.jobs, part.companions, part.timed) for part in parts[3:]] == [
        (("t-seed1", "alone-seed1"), (), ()),
        (("kd-temperature1-seed1",), ("t-seed1", "alone-seed1"), ()),
        (("kd-temperature4-seed1",), ("t-seed1", "alone-seed1"), ()),
    ]


def test_with_a_teacher_at_every_point_one_of_them_is_in_all_sessions():
    one = planned(DISTILLED, axes={"teacher.t.model.widths": [[8], [16], [24]]})
    assert one.reference == "t-widths8"
    assert [part.companions for part in one.parts] == [(), ("t-widths8",), ("t-widths8",)]
    assert one.parts[2].timed == ("t-widths8", "t-widths24", "kd-widths24")


def test_a_model_is_measured_beside_what_a_reported_difference_subtracts():
    difference = {"model": "kd-temperature4", "minus": "kd-temperature1", "metric": "top1", "value": "1 points"}
    one = planned(ALONE, DISTILLED, axes=TEMPERATURES, reported=[difference, {**difference, "minus": "alone"}])
    assert [part.companions for part in one.parts] == [(), ("t", "alone"), ("t", "alone", "kd-temperature1")]
    assert one.parts[2].timed == ("t", "kd-temperature4"), "the others are only scored"
    small = one.sub_recipe(one.parts[2].names)
    assert [number.minus for number in small.reported] == ["kd-temperature1", "alone"]
    assert not one.sub_recipe(["kd-temperature4"]).reported


def test_a_part_is_measured_again_if_a_reported_difference_compares_other_models_of_it(tmp_path):
    """Adding a difference between models that are in one part anyway must not find that part finished."""

    def folders(*reported):
        one = planned(ALONE, DISTILLED, axes=TEMPERATURES, reported=reported)
        return [part_folder(one, part, "data", RunFolder(tmp_path)).path.name for part in one.parts]

    difference = {"model": "kd-temperature4", "minus": "t", "metric": "top1", "value": "1 points"}
    before, after = folders(), folders(difference)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False]
    assert folders({**difference, "value": "2 points", "source": "table 1"}) == after
    assert folders({**difference, "metric": "latency_p50_ns", "value": "1 ms"}) == before


def test_without_times_everything_is_scored():
    assert not any(part.timed for part in planned(ALONE, measure={"times": False}).parts)


def test_variants_are_measured_with_what_they_are_of_or_where_their_own_values_are():
    variants = [{"of": "kd", "method": "int8"}, {"of": "kd-int8", "name": "twice", "method": "fp16"}]
    one = planned(DISTILLED, axes={**TEMPERATURES, "variant.kd-int8.percentile": [99.0, 99.9]}, variant=variants[:1])
    assert [(part.jobs, [v.id for v in part.variants], part.companions) for part in one.parts] == [
        (("t",), [], ()),
        (("kd-temperature1",), [], ("t",)),
        (("kd-temperature4",), [], ("t",)),
        ((), ["kd-int8-temperature1-percentile99_0"], ("t", "kd-temperature1")),
        ((), ["kd-int8-temperature1-percentile99_9"], ("t", "kd-temperature1")),
        ((), ["kd-int8-temperature4-percentile99_0"], ("t", "kd-temperature4")),
        ((), ["kd-int8-temperature4-percentile99_9"], ("t", "kd-temperature4")),
    ]
    both = planned(DISTILLED, axes=TEMPERATURES, variant=variants, seeds=2)
    assert [v.id for v in both.parts[1].variants] == ["kd-int8-temperature1-seed0", "twice-temperature1-seed0"]
    assert both.variants_of["kd-temperature1"] == ("kd-int8-temperature1", "twice-temperature1")


def test_a_part_goes_on_without_what_failed():
    variants = [{"of": "kd", "method": "int8"}, {"of": "kd-int8", "name": "twice", "method": "fp16"}]
    part = planned(DISTILLED, {**DISTILLED, "name": "other"}, variant=variants).parts[0]
    left = part.without({"kd"})
    assert (left.jobs, left.variants, left.timed) == (("t", "other"), (), ("t", "other"))
    assert not part.without({"t", "kd", "other"}).models


def test_a_training_needs_its_teachers_its_start_and_its_parts():
    one = planned(
        ALONE,
        DISTILLED,
        {**DISTILLED, "name": "begun", "start": {"model": "alone", "share": 0.5}},
        {**DISTILLED, "name": "of-many", "sub_students": {"count": 2, "features": 4}},
    )
    needs = {job.id: one.needs(job) for job in one.jobs}
    assert needs == {
        "t": (),
        "alone": (),
        "kd": ("t",),
        "begun": ("t", "alone"),
        "of-many-part1": ("t",),
        "of-many-part2": ("t",),
        "of-many": ("of-many-part1", "of-many-part2"),
    }


def test_a_task_s_recipe_has_what_its_models_need_and_gives_them_the_same_keys():
    one = planned(
        ALONE,
        {**DISTILLED, "name": "second", "teacher": "kd"},
        DISTILLED,
        axes={"student.kd.ce_weight": [0, 1], "teacher.t.training.epochs": [2, 3]},
    )
    small = one.sub_recipe(["second-ce_weight1-epochs3"])
    assert {entry.name for entry in (*small.teacher, *small.student)} == {
        "t-epochs2", "t-epochs3", "kd-ce_weight1-epochs3", "second-ce_weight1-epochs3",
    }  # fmt: skip
    full, part = ({job.id: job.key(recipe, "d") for job in plan(recipe)} for recipe in (one.recipe, small))
    assert part.items() <= full.items()


def test_a_point_has_the_models_of_all_seeds():
    one = planned(ALONE, DISTILLED, axes=TEMPERATURES, seeds=2)
    assert one.models_of_point[1] == (
        "t-seed0", "t-seed1", "alone-seed0", "alone-seed1", "kd-temperature4-seed0", "kd-temperature4-seed1",
    )  # fmt: skip


@pytest.mark.parametrize("axes", [{}, TEMPERATURES])
def test_every_model_belongs_to_one_part(axes):
    one = planned(ALONE, DISTILLED, axes=axes, seeds=3)
    assert sorted(one.part_of) == sorted(job.id for job in one.jobs)


def test_the_reference_stays_unless_the_note_of_it_is_damaged(tmp_path):
    plan_ = planned(ALONE, DISTILLED)
    sweep = PlannedSweep(plan_, {}, None, {job.id: f"key of {job.id}" for job in plan_.jobs}, {}, 1)
    note = tmp_path / "sweep.json"
    note.write_text('{"reference": "key of kd"}')
    assert with_reference(sweep, RunFolder(tmp_path)).plan.reference == "kd"
    note.write_text(note.read_text()[:10])
    assert with_reference(sweep, RunFolder(tmp_path)).plan.reference == plan_.reference != "kd"
