import numpy as np
import pytest
import torch
from distill.networks import batches, context, random_logits, step, stripes, tiny
from distill.students import objective_of, student
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.distill.methods import METHODS
from kdbench.distill.methods.kd import BornAgain, FunctionMatching, Kd
from kdbench.distill.objective import student_terms
from kdbench.errors import InputError
from kdbench.recipe import Augment
from kdbench.recipe.sweeps.expanding import expanded

STUDENT, TEACHER = random_logits(), random_logits(seed=1)


def kd(**options):
    return Kd.from_recipe("kd", options, context())


def divergence(student, teacher, temperature):
    p, q = (softmax(logits / temperature, axis=1) for logits in (teacher, student))
    return entropy(p, q, axis=1).mean()


@pytest.mark.parametrize("temperature", [1, 4])
def test_it_is_weight_times_squared_temperature_times_the_divergence_from_the_teacher(temperature):
    result = kd(kd_weight=0.5, temperature=temperature)(step(STUDENT, TEACHER)).item()
    expected = 0.5 * temperature**2 * divergence(STUDENT.double().numpy(), TEACHER.double().numpy(), temperature)
    assert result == pytest.approx(expected, rel=1e-5)


def test_a_student_that_agrees_has_nothing_to_lose():
    assert kd()(step(TEACHER, TEACHER)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("std", "ddof"), [("unbiased", 1), ("population", 0)])
def test_standardized_logits_are_compared_by_either_convention(std, ddof):
    """Sun et al. 2024, algorithm 1, in numpy."""
    rows = [logits.double().numpy() for logits in (STUDENT, TEACHER)]
    scores = [(z - z.mean(axis=1, keepdims=True)) / (1e-7 + z.std(axis=1, ddof=ddof, keepdims=True)) for z in rows]
    result = kd(kd_weight=9, temperature=2, standardize=True, std=std)(step(STUDENT, TEACHER)).item()
    assert result == pytest.approx(9 * 4 * divergence(*scores, 2), rel=1e-5)


def test_unbiased_is_the_usual_convention():
    usual, unbiased = kd(standardize=True), kd(standardize=True, std="unbiased")
    assert usual(step(STUDENT, TEACHER)) == unbiased(step(STUDENT, TEACHER))


def test_a_standardized_student_may_have_logits_of_another_scale():
    assert kd(standardize=True)(step(0.1 * TEACHER + 5, TEACHER)).item() == pytest.approx(0, abs=1e-4)


def test_bfloat16_logits_are_compared_in_float32():
    rounded = [logits.bfloat16() for logits in (STUDENT, TEACHER)]
    with torch.autocast("cpu", torch.bfloat16):
        result = kd(standardize=True)(step(*rounded))
    assert result == kd(standardize=True)(step(*(logits.float() for logits in rounded)))


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


def test_the_formula_names_its_numbers():
    assert kd().formula() == "0.9·T²·KL(t‖s), T = 4"
    result = kd(kd_weight=9, temperature=2, standardize=True, std="population").formula()
    assert result == "9·T²·KL(t‖s) of standardized logits (population std), T = 2"


def test_the_toy_example_of_a_published_study():
    """Ahad, "Knowledge Distillation Techniques", task 2: nats at temperature 1, population std."""
    teacher, wrong = torch.tensor([[1.0, 4, 3, 2]]), torch.tensor([[1.0, 2.8, 3, 2]])
    plain = {"kd_weight": 1, "temperature": 1}
    assert kd(**plain)(step(wrong, teacher)).item() == pytest.approx(0.1749, abs=5e-5)
    standardized = kd(**plain, standardize=True, std="population")
    assert standardized(step(wrong, teacher)).item() == pytest.approx(0.1347, abs=5e-5)
    assert np.isclose(standardized(step(0.1 * teacher, teacher)).item(), 0, atol=1e-5)


def test_born_again_is_the_plain_divergence_at_temperature_1():
    p, q = (softmax(logits.double().numpy(), axis=1) for logits in (TEACHER, STUDENT))
    value = BornAgain.from_recipe("born_again", {}, context())(step(STUDENT, TEACHER)).item()
    assert value == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-5)


def test_labels_have_full_weight_beside_born_again():
    assert BornAgain.default_ce_weight == 1


def test_each_generation_is_taught_by_the_one_before():
    entry = {"name": "s", "model": "m", "teacher": "t", "generations": 3, "terms": [{"method": "born_again"}]}
    students = expanded({"student": [entry]})["student"]
    assert [(student["name"], student["teacher"]) for student in students] == [
        ("s-1", "t"),
        ("s-2", "s-1"),
        ("s-3", "s-2"),
    ]
    assert all(student["terms"] == entry["terms"] for student in students)


def test_the_formula_of_born_again():
    assert BornAgain.from_recipe("born_again", {}, context()).formula() == "1·T²·KL(t‖s), T = 1"


STUDENT, TEACHER = random_logits(), random_logits(seed=1)


def test_function_matching_is_the_divergence_at_temperature_2():
    p, q = (softmax(logits.double().numpy() / 2, axis=1) for logits in (TEACHER, STUDENT))
    value = FunctionMatching.from_recipe("function_matching", {}, context())(step(STUDENT, TEACHER)).item()
    assert value == pytest.approx(4 * entropy(p, q, axis=1).mean(), rel=1e-5)


def test_teacher_and_student_see_the_same_mixed_images_and_no_label_is_looked_at():
    entry = student({"method": "function_matching"}, data={"augment": {"mixup": 1.0}})
    student_terms(entry, context())
    learner, teacher = tiny().eval(), tiny(1)
    seen = []
    for network in (learner, teacher):
        network.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    objective = objective_of(entry, learner, teacher)
    seen.clear()
    mixed = next(iter(batches(stripes(24), train=True, augment=Augment(mixup=1.0), classes=3)))
    loss, _ = objective(learner, mixed, 0)
    assert all(torch.equal(images, mixed.inputs) for images in seen)
    assert len(seen) == 2
    assert objective(learner, mixed._replace(labels=mixed.labels.flip(1)), 0)[0] == loss
    assert objective.formula(10) == "1·T²·KL(t‖s), T = 2"


@pytest.mark.parametrize(
    ("method", "options"), [("mse", {}), ("kd", {"standardize": True}), ("born_again", {"standardize": True})]
)
def test_methods_of_the_logits_themselves_need_all_classes_of_the_teacher(method, options):
    teacher = tiny(1)
    teacher.absent_classes = (2,)
    with pytest.raises(InputError, match="class 2"):
        METHODS.get(method).from_recipe(method, options, context(tiny(), teacher))
    assert METHODS.get("kd").from_recipe("kd", {}, context(tiny(), teacher))
