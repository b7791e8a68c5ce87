import numpy as np
import pytest
import torch
from distill.networks import EXAMPLE, context, random_logits, step, tiny
from distill.students import objective_of, student
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.data.batches import Batch
from kdbench.distill.methods.multi_teacher import MultiTeacher
from kdbench.errors import InputError

STUDENT, *TEACHERS = (random_logits(seed=seed) for seed in range(4))
THREE = context(None, tiny(1), tiny(2), tiny(3))


def multi_teacher(**options):
    return MultiTeacher.from_recipe("multi_teacher", options, THREE)


def probabilities(logits, temperature):
    return softmax(logits.double().numpy() / temperature, axis=1)


def test_the_ensemble_is_the_mean_of_the_teachers_probabilities():
    mean = np.mean([probabilities(teacher, 1) for teacher in TEACHERS], axis=0)
    softened = softmax(np.log(mean) / 4, axis=1)
    expected = 0.9 * 16 * entropy(softened, probabilities(STUDENT, 4), axis=1).mean()
    assert multi_teacher()(step(STUDENT, *TEACHERS)).item() == pytest.approx(expected, rel=1e-5)


def test_divergences_are_averaged_where_that_is_asked():
    kls = [entropy(probabilities(t, 2), probabilities(STUDENT, 2), axis=1).mean() for t in TEACHERS]
    result = multi_teacher(combine="divergences", kd_weight=1, temperature=2)(step(STUDENT, *TEACHERS)).item()
    assert result == pytest.approx(4 * np.mean(kls), rel=1e-5)


@pytest.mark.parametrize("combine", ["probabilities", "divergences"])
def test_every_teacher_is_asked(combine):
    learner, teachers = tiny().eval(), [tiny(seed, width=8) for seed in (1, 2, 3)]
    entry = student({"method": "multi_teacher", "combine": combine}, teacher=["a", "b", "c"])
    objective = objective_of(entry, learner, *teachers)
    batch = Batch(EXAMPLE, torch.tensor([0, 1]), torch.arange(2), torch.arange(2))
    before = objective(learner, batch, 0)[0].item()
    for teacher in teachers:
        with torch.no_grad():
            teacher.head.bias.add_(torch.tensor([1.0, 0, 0]))
        after = objective(learner, batch, 0)[0].item()
        assert after != pytest.approx(before, rel=1e-4)
        before = after


def test_of_one_teacher_both_ways_are_plain_distillation():
    alone = context(None, tiny(1))
    result = [
        MultiTeacher.from_recipe("multi_teacher", {"combine": combine}, alone)(step(STUDENT, TEACHERS[0])).item()
        for combine in ("probabilities", "divergences")
    ]
    assert result[0] == pytest.approx(result[1], rel=1e-5)


def test_the_record_tells_its_numbers():
    assert multi_teacher().formula() == "0.9·T²·KL(t‖s), t the mean probability of 3 teachers, T = 4"
    assert multi_teacher(combine="divergences").formula() == "0.9·T²·mean of KL(t‖s) over 3 teachers, T = 4"


def test_another_way_to_combine_is_refused():
    with pytest.raises(InputError, match="combine"):
        multi_teacher(combine="logits")
