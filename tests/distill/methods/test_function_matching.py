import pytest
from networks import batches, random_logits, setting, step, stripes, tiny
from scipy.special import softmax
from scipy.stats import entropy
from students import objective_of, student

from kdbench.distill.methods.function_matching import FunctionMatching
from kdbench.distill.objective import student_terms
from kdbench.recipe import Augment

STUDENT, TEACHER = random_logits(), random_logits(seed=1)


def test_it_is_the_divergence_at_temperature_2():
    p, q = (softmax(logits.double().numpy() / 2, axis=1) for logits in (TEACHER, STUDENT))
    found = FunctionMatching.from_recipe("function_matching", {}, setting())(step(STUDENT, TEACHER)).item()
    assert found == pytest.approx(4 * entropy(p, q, axis=1).mean(), rel=1e-5)


def test_teacher_and_student_see_the_same_mixed_images_and_no_label_is_looked_at():
    entry = student({"method": "function_matching"}, data={"augment": {"mixup": 1.0}})
    student_terms(entry, setting())
    learner, teacher = tiny().eval(), tiny(1)
    seen = []
    for network in (learner, teacher):
        network.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    objective = objective_of(entry, learner, teacher)
    seen.clear()
    mixed = next(iter(batches(stripes(24), train=True, augment=Augment(mixup=1.0), classes=3)))
    loss, _ = objective(learner, mixed, 0)
    assert seen[0] is seen[1] is mixed.images
    assert objective(learner, mixed._replace(labels=mixed.labels.flip(1)), 0)[0] == loss
    assert objective.formula(10) == "1·T²·KL(t‖s), T = 2"
