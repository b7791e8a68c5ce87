"""RKD against loops over pairs and triples, and against geometry known by heart."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from kdbench.distill.losses.features import rkd_angle, rkd_distance

LOSSES = pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])


def features(samples=5, width=4, seed=0):
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_l1(difference):
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def relative_distances(points):
    return squareform(pdist(points)) / pdist(points).mean()


def cosine(points, i, j, k):
    """Return the cosine of the angle at i between j and k, by the law of cosines; 0 where two of them are one."""
    a, b, c = math.dist(points[i], points[j]), math.dist(points[i], points[k]), math.dist(points[j], points[k])
    return (a**2 + b**2 - c**2) / (2 * a * b) if a and b else 0.0


def test_distance_loss_is_the_loop_over_pairs():
    student, teacher = 6 * features(width=3) ** 3, features(seed=1)  # widths may differ
    own, wanted = relative_distances(student.numpy()), relative_distances(teacher.numpy())
    expected = sum(smooth_l1(own[i, j] - wanted[i, j]) for i in range(5) for j in range(5)) / 25
    assert np.abs(own - wanted).max() > 1, "both branches of the smooth L1 are taken"
    assert rkd_distance(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_angle_loss_is_the_loop_over_triples():
    student, teacher = features(width=3), features(seed=1)
    triples = [(i, j, k) for i in range(5) for j in range(5) for k in range(5)]
    differences = [cosine(student.tolist(), *each) - cosine(teacher.tolist(), *each) for each in triples]
    assert max(map(abs, differences)) > 1, "both branches of the smooth L1 are taken"
    expected = sum(map(smooth_l1, differences)) / 125
    assert rkd_angle(student, teacher).item() == pytest.approx(expected, rel=1e-9)


@LOSSES
def test_a_rotated_moved_and_stretched_copy_of_the_teacher_costs_nothing(loss):
    teacher = features()
    rotation, _ = np.linalg.qr(features(4, 4, seed=1).numpy())
    student = 7 * teacher @ torch.from_numpy(rotation) + 3
    assert loss(student, teacher).item() == pytest.approx(0, abs=1e-15)


def test_three_points_on_a_line_against_an_equilateral_triangle():
    """Distances 1, 1, 2 of mean 4/3 against all equal; cosines 1, 1, -1 against 1/2, both among the zeros of 27."""
    line = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    triangle = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    distance = 2 * (smooth_l1(3 / 4 - 1) + smooth_l1(3 / 4 - 1) + smooth_l1(3 / 2 - 1)) / 9
    angle = 2 * (smooth_l1(1 - 0.5) + smooth_l1(1 - 0.5) + smooth_l1(-1 - 0.5)) / 27
    assert rkd_distance(line, triangle).item() == pytest.approx(distance, rel=1e-12)
    assert rkd_angle(line, triangle).item() == pytest.approx(angle, rel=1e-12)


@LOSSES
@pytest.mark.parametrize("offset", [0.0, 1e-30, 1e-12])
def test_gradients_stay_finite_where_samples_coincide(loss, offset):
    """The square root of 0 has an infinite gradient, the direction between equal samples none."""
    student = features(4, 3).float()
    student[1] = student[0] + offset
    student[2:] = 0.0
    student[3] = offset
    student.requires_grad_()
    loss(student, features(4, 6, seed=1).float()).backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 100


@LOSSES
def test_a_batch_of_one_sample_many_times_has_a_finite_loss_and_no_gradient(loss):
    student = torch.ones(4, 3, requires_grad=True)
    result = loss(student, features(4, 3).float())
    result.backward()
    assert torch.isfinite(result)
    assert torch.equal(student.grad, torch.zeros(4, 3))


@LOSSES
def test_gradient_is_that_of_differences(loss):
    teacher = features(seed=1)
    assert torch.autograd.gradcheck(lambda own: loss(own, teacher), features().requires_grad_())


def test_small_distances_survive_far_from_the_origin():
    """|x|² + |y|² - 2xy in float32 would give 0 or 0.35 for points 0.25 apart at 4096."""
    near = torch.tensor([[0.0], [0.25], [0.75]])
    assert rkd_distance(near + 4096, near).item() == 0


@LOSSES
def test_maps_are_flattened(loss):
    student, teacher = features(4, 12), features(4, 8, seed=1)
    assert torch.equal(loss(student.view(4, 3, 2, 2), teacher.view(4, 2, 2, 2)), loss(student, teacher))


@LOSSES
def test_batches_that_differ_are_refused(loss):
    with pytest.raises(ValueError, match="differ in shape"):
        loss(features(4), features(5))


@LOSSES
def test_bfloat16_features_count_as_float32_under_autocast(loss):
    """Autocast would take the inner products of the angles in bfloat16."""
    student, teacher = features(8, 16).bfloat16(), features(8, 16, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(student, teacher)
    torch.testing.assert_close(result, loss(student.float(), teacher.float()), rtol=0, atol=0)
