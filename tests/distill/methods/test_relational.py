import itertools

import numpy as np
import pytest
import torch
from distill.networks import context, step
from distill.students import student
from scipy.spatial.distance import cdist
from torch import nn

from kdbench.distill.methods.relational import Relational
from kdbench.distill.objective import student_terms
from kdbench.errors import InputError

LOGITS = torch.zeros(5, 3)
STUDENT, TEACHER = (torch.randn(5, width, 4, 4, generator=torch.Generator().manual_seed(0)) for width in (8, 16))


def relational(networks=None, **options):
    return Relational.from_recipe("relational", options, networks or context())


def loss(term, student=STUDENT, teacher=TEACHER):
    features = {"student_features": {"second": student}, "teacher_features": {"second": teacher}}
    return term(step(LOGITS, LOGITS, **features)).item()


def smooth_l1(differences):
    size = np.abs(differences)
    return np.where(size < 1, size**2 / 2, size - 0.5).mean()


def pooled(maps):
    return maps.double().numpy().mean(axis=(2, 3))


def distances(maps):
    result = cdist(pooled(maps), pooled(maps))
    return result / result[result > 0].mean()


def cosines(maps):
    points = pooled(maps)
    result = np.zeros((len(points),) * 3)
    for i, j, k in itertools.product(range(len(points)), repeat=3):
        if i not in {j, k}:
            one, other = points[j] - points[i], points[k] - points[i]
            result[i, j, k] = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return result


def test_it_compares_distances_and_angles_between_pooled_features():
    apart = smooth_l1(distances(STUDENT) - distances(TEACHER))
    angles = smooth_l1(cosines(STUDENT) - cosines(TEACHER))
    assert loss(relational()) == pytest.approx(25 * apart + 50 * angles, rel=1e-4)
    assert loss(relational(relational_angle_weight=0, relational_distance_weight=2)) == pytest.approx(
        2 * apart, rel=1e-4
    )


def test_the_last_stages_are_compared_unless_others_are_named():
    assert relational().student_layers == relational().teacher_layers == ("second",)
    assert relational(student_layer="first").student_layers == ("first",)


def test_vectors_are_taken_as_they_are():
    term = relational(student_layer="head", teacher_layer="second")
    assert term.student_layers == ("head",)
    vectors = TEACHER.mean(dim=(2, 3))
    assert loss(relational(), vectors, TEACHER) == pytest.approx(0, abs=1e-6)


class Patches(nn.Module):
    """A network that cuts its images: what flows in it is (B, 1, 2, 4, 2, 4)."""

    stages = ("patches",)

    def __init__(self):
        super().__init__()
        self.rows, self.patches = nn.Unflatten(2, (2, 4)), nn.Unflatten(4, (2, 4))
        self.unused, self.head = nn.Identity(), nn.Linear(64, 3)

    def forward(self, images):
        return self.head(self.patches(self.rows(images)).flatten(1))


@pytest.mark.parametrize(
    ("layer", "message", "hint"),
    [
        (None, r"returns \(1, 2, 4, 2, 4\), but maps", "returns maps, tokens or vectors"),
        ("unused", "not used", "a layer that every forward pass calls"),
    ],
)
def test_what_is_neither_map_nor_vector_is_refused(layer, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        relational(context(Patches()), student_layer=layer)
    assert hint in caught.value.hint


def test_bfloat16_features_are_pooled_and_compared_in_float32():
    rounded = STUDENT.bfloat16(), TEACHER.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(relational(), *rounded)
    assert result == loss(relational(), *(maps.float() for maps in rounded))


def test_the_record_tells_its_numbers():
    assert relational().formula() == "25·SmoothL1(distances) + 50·SmoothL1(angles) of second, second"
    assert relational(relational_distance_weight=0).formula() == "50·SmoothL1(angles) of second, second"


@pytest.mark.parametrize(("batch", "devices", "least"), [(2, 1, 3), (5, 2, 3)])
def test_a_batch_without_relations_is_refused(batch, devices, least):
    training = {"batch": batch, "devices": devices}
    with pytest.raises(InputError, match=f"at least {least}, but training.batch is 2") as caught:
        student_terms(student({"method": "relational"}, training=training), context())
    assert "training.batch" in caught.value.hint
    enough = {"batch": least * devices, "devices": devices}
    student_terms(student({"method": "relational"}, training=enough), context())
