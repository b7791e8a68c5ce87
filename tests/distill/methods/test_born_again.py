import pytest
from networks import random_logits, setting, step
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.distill.methods.born_again import BornAgain
from kdbench.recipe.expanding import expanded

STUDENT, TEACHER = random_logits(), random_logits(seed=1)


def test_it_is_the_plain_divergence_at_temperature_1():
    p, q = (softmax(logits.double().numpy(), axis=1) for logits in (TEACHER, STUDENT))
    found = BornAgain.from_recipe("born_again", {}, setting())(step(STUDENT, TEACHER)).item()
    assert found == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-5)


def test_labels_count_as_much():
    assert BornAgain.usual_ce_weight == 1


def test_each_generation_is_taught_by_the_one_before():
    entry = {"name": "s", "model": "m", "teacher": "t", "generations": 3, "terms": [{"method": "born_again"}]}
    students = expanded({"student": [entry]})["student"]
    assert [(each["name"], each["teacher"]) for each in students] == [("s-1", "t"), ("s-2", "s-1"), ("s-3", "s-2")]
    assert all(each["terms"] == entry["terms"] for each in students)


def test_the_record_tells_its_numbers():
    assert BornAgain.from_recipe("born_again", {}, setting()).formula() == "1·T²·KL(t‖s), T = 1"
