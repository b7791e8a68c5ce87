import pytest

from kdbench.recipe.loading import recipe_from
from kdbench.workflows.study.plan import plan

KD = [{"method": "kd"}]


def jobs_of(*students, **keys):
    teachers = [{"name": "a", "model": "mlp"}, {"name": "b", "model": {"name": "mlp", "widths": [7]}}]
    students = [{"model": "mlp", **student} for student in students]
    recipe = recipe_from({"name": "tiny", "data": {"name": "digits"}, "teacher": teachers, "student": students, **keys})
    return recipe, {job.id: job for job in plan(recipe)}


def test_everything_comes_after_what_it_needs():
    _, jobs = jobs_of(
        {"name": "last", "teacher": ["middle", "b"], "terms": KD},
        {"name": "middle", "teacher": "first", "terms": KD},
        {"name": "first", "start": {"model": "b", "share": 0.5}},
    )
    assert list(jobs) == ["a", "b", "first", "middle", "last"]
    assert [teacher.id for teacher in jobs["last"].teachers] == ["middle", "b"]
    assert jobs["last"].teacher.id == "middle"
    assert jobs["first"].start.id == "b"


def test_seeds_do_not_mix():
    _, jobs = jobs_of({"name": "s", "generations": 2, "terms": KD}, seeds=[0, 4])
    assert [job.teacher.id for id_, job in jobs.items() if id_.startswith("s-")] == [
        "a-seed0", "s-1-seed0", "a-seed4", "s-1-seed4",
    ]  # fmt: skip


def test_the_parts_of_a_student_are_trained_before_it_with_other_seeds_and_are_not_measured():
    _, jobs = jobs_of({"name": "s", "sub_students": {"count": 3, "features": 8}})
    fused = jobs["s"]
    assert [part.id for part in fused.parts] == ["s-part1", "s-part2", "s-part3"]
    assert list(jobs) == ["a", "b", "s-part1", "s-part2", "s-part3", "s"]
    assert len({part.seed for part in fused.parts} | {fused.seed}) == 4
    assert [job.id for job in jobs.values() if job.part is None] == ["a", "b", "s"]


def keys_of(*students, **keys):
    recipe, jobs = jobs_of(*students, **keys)
    return {id_: job.key(recipe, "data") for id_, job in jobs.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"terms": [{"method": "kd", "temperature": 2}]},
        {"terms": [{"method": "kd", "until_epoch": 3}]},
        {"teacher": "b"},
        {"cache": "off"},  # kept logits are rounded to float16
        {"start": {"share": 0.5}},
        {"data": {"label_noise": {"share": 0.1}}},
        {"data": {"augment": "flip"}},
        {"quantize": {"weight_bits": 4}},
        {"training": {"stop_at": 3}},
        {"training": {"accumulate": 2}},
        {"training": {"ema": 0.9}},
        {"training": {"freeze": "x"}},
        {"training": {"optimizer": {"layers": {"x": 2.0}}}},
        {"training": {"optimizer": {"decay_norm_and_bias": False}}},
        {"training": {"schedule": {"monitor": "accuracy"}}},
        {"sub_students": {"count": 2}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_training_changes_its_key_and_no_other(change):
    student = {"name": "s", "terms": KD}
    before, after = keys_of(student), keys_of({**student, **change})
    assert before["s"] != after["s"]
    assert before["a"] == after["a"]


def test_a_key_depends_on_the_data_and_the_seed_but_on_no_setting_of_measuring_or_reporting():
    students = ({"name": "s", "terms": KD}, {"name": "alone"})
    recipe, jobs = jobs_of(*students)
    before = keys_of(*students)
    assert keys_of(*students, measure={"budget_s": 9}, title="Another") == before
    assert set(keys_of(*students, seeds=[1]).values()).isdisjoint(before.values())
    assert {job.key(recipe, "other data") for job in jobs.values()}.isdisjoint(before.values())


def test_what_a_model_is_called_changes_no_key():
    swept = {"name": "t", "terms": KD, "sweep": {"terms.0.method": ["kd"]}}
    assert keys_of({"name": "s", "terms": KD})["s"] == keys_of(swept)["t-methodkd"]


def test_another_teachers_training_changes_those_it_teaches_alone():
    students = ({"name": "s", "terms": KD}, {"name": "alone"})
    before = keys_of(*students)
    after = keys_of(*students, training={"epochs": 3})
    assert all(before[id_] != after[id_] for id_ in before)
    recipe, _ = jobs_of(*students)
    other = recipe.model_copy(
        update={
            "teacher": (
                recipe.teacher[0].model_copy(
                    update={"model": recipe.teacher[0].model.model_copy(update={"widths": [9]})}
                ),
                recipe.teacher[1],
            )
        }
    )
    changed = {job.id: job.key(other, "data") for job in plan(other)}
    assert changed["s"] != before["s"]
    assert changed["alone"] == before["alone"]


def test_an_offset_moves_a_models_seed_and_not_the_recipes_it_belongs_to():
    _, jobs = jobs_of({"name": "s", "seed_offset": 3, "terms": KD}, seeds=[1, 0])
    assert [jobs[id_].of_seed for id_ in ("s-seed1", "s-seed0", "a-seed1")] == [1, 0, 1]
    assert (jobs["a-seed1"].seed, jobs["a-seed0"].seed) == (1, 0)


def test_members_of_an_ensemble_are_not_each_others_at_another_seed():
    students = [{"name": f"s{offset}", "seed_offset": offset} for offset in range(4)]
    _, jobs = jobs_of(*students, seeds=[0, 1, 2])
    assert len({job.seed for id_, job in jobs.items() if id_.startswith("s")}) == 12


def test_a_key_that_earlier_versions_did_not_have_counts_only_where_it_is_used():
    """Otherwise a new version would train again what is trained already."""
    _, jobs = jobs_of({"name": "s"}, {"name": "seeded", "data": {"target_noise": {"seed": 3}}})
    noisy = keys_of({"name": "s", "data": {"target_noise": {"std": 0.5}}})
    counted = {id_: job.entry.model_dump(mode="json") for id_, job in jobs.items()}
    assert "target_noise" not in counted["s"]["data"]
    assert counted["seeded"]["data"]["target_noise"] == {"std": 0.0, "seed": 3}
    written = {"accumulate": 1, "freeze": [], "optimizer": {"layers": {}}, "schedule": {"factor": 0.1, "patience": 10}}
    assert keys_of({"name": "s", "training": written})["s"] == keys_of({"name": "s"})["s"]
    assert not {"accumulate", "ema", "freeze"} & counted["s"]["training"].keys()
    assert counted["s"]["training"]["schedule"].keys() == {"name", "warmup", "milestones", "gamma"}
    assert noisy["s"] != keys_of({"name": "s"})["s"]
