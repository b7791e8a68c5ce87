import numpy as np
import pytest
from distill.networks import context, random_logits, step
from scipy.special import softmax
from scipy.stats import entropy

from kdbench.distill.methods.dkd import Dkd

STUDENT, TEACHER = random_logits(), random_logits(seed=1)


def dkd(**options):
    return Dkd.from_recipe("dkd", options, context())


def by_definition(labels, alpha, beta, temperature):
    """Zhao et al. 2022, eq. 7, sample by sample on probabilities."""
    total = 0.0
    for student, teacher, label in zip(STUDENT.double().numpy(), TEACHER.double().numpy(), labels, strict=True):
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        target = entropy([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        others = entropy(np.delete(p, label), np.delete(q, label))  # scipy normalises both
        total += alpha * target + beta * others
    return temperature**2 * total / len(labels)


@pytest.mark.parametrize("options", [{}, {"tckd_weight": 3, "nckd_weight": 0.5, "temperature": 1}])
def test_it_weighs_target_and_other_classes_apart(options):
    numbers = {"tckd_weight": 1, "nckd_weight": 8, "temperature": 4, **options}
    result = dkd(**options, warmup=0)(step(STUDENT, TEACHER)).item()
    expected = by_definition([0, 1, 2, 0, 1, 2], *numbers.values())
    assert result == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("epoch", "share"), [(0, 1 / 20), (9, 10 / 20), (19, 1), (100, 1)])
def test_it_warms_up_over_20_epochs_counted_from_1(epoch, share):
    full = dkd(warmup=0)(step(STUDENT, TEACHER)).item()
    assert dkd()(step(STUDENT, TEACHER, epoch=epoch)).item() == pytest.approx(share * full, rel=1e-6)


def test_the_record_tells_its_numbers():
    assert dkd().formula() == "min(epoch/20, 1)·T²·(1·TCKD + 8·NCKD), T = 4"
    assert dkd(warmup=0).formula() == "T²·(1·TCKD + 8·NCKD), T = 4"


def test_mixed_images_are_not_admitted():
    assert not Dkd.supports_mixed_images
