import numpy as np
import pytest
import torch
from networks import random_logits, setting, step
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.distill.methods.kd import Kd
from kdbench.errors import InputError

STUDENT, TEACHER = random_logits(), random_logits(seed=1)


def kd(**options):
    return Kd.from_recipe("kd", options, setting())


def divergence(student, teacher, temperature):
    p, q = (softmax(logits / temperature, axis=1) for logits in (teacher, student))
    return entropy(p, q, axis=1).mean()


@pytest.mark.parametrize("temperature", [1, 4])
def test_it_is_weight_times_squared_temperature_times_the_divergence_from_the_teacher(temperature):
    found = kd(kd_weight=0.5, temperature=temperature)(step(STUDENT, TEACHER)).item()
    expected = 0.5 * temperature**2 * divergence(STUDENT.double().numpy(), TEACHER.double().numpy(), temperature)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_student_that_agrees_has_nothing_to_lose():
    assert kd()(step(TEACHER, TEACHER)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("std", "ddof"), [("unbiased", 1), ("population", 0)])
def test_standardized_logits_are_compared_by_either_convention(std, ddof):
    """Sun et al. 2024, algorithm 1, in numpy."""
    rows = [logits.double().numpy() for logits in (STUDENT, TEACHER)]
    scores = [(z - z.mean(axis=1, keepdims=True)) / (1e-7 + z.std(axis=1, ddof=ddof, keepdims=True)) for z in rows]
    found = kd(kd_weight=9, temperature=2, standardize=True, std=std)(step(STUDENT, TEACHER)).item()
    assert found == pytest.approx(9 * 4 * divergence(*scores, 2), rel=1e-5)


def test_unbiased_is_the_usual_convention():
    usual, unbiased = kd(standardize=True), kd(standardize=True, std="unbiased")
    assert usual(step(STUDENT, TEACHER)) == unbiased(step(STUDENT, TEACHER))


def test_a_standardized_student_may_have_logits_of_another_scale():
    assert kd(standardize=True)(step(0.1 * TEACHER + 5, TEACHER)).item() == pytest.approx(0, abs=1e-4)


def test_bfloat16_logits_are_compared_in_float32():
    rounded = [logits.bfloat16() for logits in (STUDENT, TEACHER)]
    with torch.autocast("cpu", torch.bfloat16):
        found = kd(standardize=True)(step(*rounded))
    assert found == kd(standardize=True)(step(*(logits.float() for logits in rounded)))


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"temprature": 2}, "unknown option 'temprature'", "did you mean 'temperature'"),
        ({"temperature": 0}, "temperature", "options"),
        ({"temperature": float("nan")}, "temperature", "options"),
        ({"alpha": 1}, "unknown option 'alpha'", "kd_weight"),
        ({"standardize": True, "std": "sample"}, "std", "options"),
    ],
)
def test_options_that_it_does_not_have_are_refused(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        kd(**options)
    assert hint in caught.value.hint


def test_the_record_tells_its_numbers():
    assert kd().formula() == "0.9·T²·KL(t‖s), T = 4"
    found = kd(kd_weight=9, temperature=2, standardize=True, std="population").formula()
    assert found == "9·T²·KL(t‖s) of standardized logits (population std), T = 2"


def test_the_toy_example_of_a_published_study():
    """Ahad, "Knowledge Distillation Techniques", task 2: nats at temperature 1, population std."""
    teacher, wrong = torch.tensor([[1.0, 4, 3, 2]]), torch.tensor([[1.0, 2.8, 3, 2]])
    plain = {"kd_weight": 1, "temperature": 1}
    assert kd(**plain)(step(wrong, teacher)).item() == pytest.approx(0.1749, abs=5e-5)
    standardized = kd(**plain, standardize=True, std="population")
    assert standardized(step(wrong, teacher)).item() == pytest.approx(0.1347, abs=5e-5)
    assert np.isclose(standardized(step(0.1 * teacher, teacher)).item(), 0, atol=1e-5)
