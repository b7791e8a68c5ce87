"""Losses on feature maps against plain loops; RKD's also against geometry known by heart."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from kdbench.distill.losses.features import attention_loss, attention_map, feature_mse, rkd_angle, rkd_distance


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def looped_map(feature):
    """Return the attention map of one sample (C, H, W) as a list, position by position."""
    channels, height, width = feature.shape
    values = [
        sum(feature[c, y, x] ** 2 for c in range(channels)) / channels for y in range(height) for x in range(width)
    ]
    norm = sum(value**2 for value in values) ** 0.5
    return [value / norm for value in values]


def test_feature_mse_is_the_mean_of_squares():
    student, teacher = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    expected = np.square(student.numpy() - teacher.numpy()).mean()
    assert feature_mse(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_feature_mse_refuses_to_broadcast():
    with pytest.raises(ValueError, match="features differ in shape"):
        feature_mse(torch.zeros(2, 4, 1, 1), torch.zeros(2, 4, 3, 3))


def test_attention_map_is_the_unit_vector_of_mean_squares():
    features = maps(3, 4, 2, 5)
    np.testing.assert_allclose(
        attention_map(features), [looped_map(feature) for feature in features.numpy()], rtol=1e-12
    )


def test_attention_loss_is_the_sum_over_layers_of_mean_squares():
    student = [maps(2, 3, 4, 4), maps(2, 6, 2, 2, seed=1)]
    teacher = [maps(2, 8, 4, 4, seed=2), maps(2, 5, 2, 2, seed=3)]  # widths may differ: channels are averaged away
    expected = 0.0
    for student_map, teacher_map in zip(student, teacher, strict=True):
        pairs = zip(student_map.numpy(), teacher_map.numpy(), strict=True)
        differences = [np.subtract(looped_map(s), looped_map(t)) for s, t in pairs]
        expected += np.mean(np.square(differences))
    assert attention_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_the_size_of_a_layers_activations_does_not_matter():
    student, teacher = maps(2, 3, 4, 4), maps(2, 3, 4, 4, seed=1)
    assert attention_loss([9 * student], [teacher]).item() == pytest.approx(attention_loss([student], [teacher]).item())
    assert attention_loss([9 * teacher], [teacher]).item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("swap", [False, True])
def test_the_larger_map_is_pooled_to_the_smaller(swap):
    large, small = maps(2, 3, 4, 6), maps(2, 5, 2, 3, seed=1)
    pooled = large.reshape(2, 3, 2, 2, 3, 2).mean(dim=(3, 5))
    pair = ([small], [large]) if swap else ([large], [small])
    assert attention_loss(*pair).item() == pytest.approx(attention_loss([pooled], [small]).item(), rel=1e-12)


def test_maps_of_zeros_have_finite_gradients():
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss = attention_loss([student], [maps(2, 3, 4, 4).float()])
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_numbers_of_layers_that_differ_are_refused():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        attention_loss([maps(2, 3, 4, 4)] * 2, [maps(2, 3, 4, 4)])


def test_bfloat16_features_count_as_float32():
    student, teacher = maps(8, 16, 8, 8).bfloat16(), maps(8, 16, 4, 4, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        attention, hint = attention_loss([student], [teacher]), feature_mse(student, student + 1)
    torch.testing.assert_close(attention, attention_loss([student.float()], [teacher.float()]), rtol=0, atol=0)
    torch.testing.assert_close(hint, ((student.float() - (student + 1).float()) ** 2).mean())


# Losses on the relations of samples.
RELATIONAL = pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])


def vectors(samples=5, width=4, seed=0):
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
    student, teacher = 6 * vectors(width=3) ** 3, vectors(seed=1)  # widths may differ
    student_distances, teacher_distances = relative_distances(student.numpy()), relative_distances(teacher.numpy())
    expected = (
        sum(smooth_l1(student_distances[i, j] - teacher_distances[i, j]) for i in range(5) for j in range(5)) / 25
    )
    assert np.abs(student_distances - teacher_distances).max() > 1, "both branches of the smooth L1 are taken"
    assert rkd_distance(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_angle_loss_is_the_loop_over_triples():
    student, teacher = vectors(width=3), vectors(seed=1)
    triples = [(i, j, k) for i in range(5) for j in range(5) for k in range(5)]
    differences = [cosine(student.tolist(), *triple) - cosine(teacher.tolist(), *triple) for triple in triples]
    assert max(map(abs, differences)) > 1, "both branches of the smooth L1 are taken"
    expected = sum(map(smooth_l1, differences)) / 125
    assert rkd_angle(student, teacher).item() == pytest.approx(expected, rel=1e-9)


@RELATIONAL
def test_a_rotated_moved_and_stretched_copy_of_the_teacher_costs_nothing(loss):
    teacher = vectors()
    rotation, _ = np.linalg.qr(vectors(4, 4, seed=1).numpy())
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


@RELATIONAL
@pytest.mark.parametrize("offset", [0.0, 1e-30, 1e-12])
def test_gradients_stay_finite_where_samples_coincide(loss, offset):
    """The square root of 0 has an infinite gradient, the direction between equal samples none."""
    student = vectors(4, 3).float()
    student[1] = student[0] + offset
    student[2:] = 0.0
    student[3] = offset
    student.requires_grad_()
    loss(student, vectors(4, 6, seed=1).float()).backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 100


@RELATIONAL
def test_a_batch_of_one_sample_many_times_has_a_finite_loss_and_no_gradient(loss):
    student = torch.ones(4, 3, requires_grad=True)
    result = loss(student, vectors(4, 3).float())
    result.backward()
    assert torch.isfinite(result)
    assert torch.equal(student.grad, torch.zeros(4, 3))


@RELATIONAL
def test_gradient_of_a_relational_loss_is_that_of_differences(loss):
    teacher = vectors(seed=1)
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher), vectors().requires_grad_())


def test_small_distances_survive_far_from_the_origin():
    """|x|² + |y|² - 2xy in float32 would give 0 or 0.35 for points 0.25 apart at 4096."""
    near = torch.tensor([[0.0], [0.25], [0.75]])
    assert rkd_distance(near + 4096, near).item() == 0


@RELATIONAL
def test_maps_are_flattened(loss):
    student, teacher = vectors(4, 12), vectors(4, 8, seed=1)
    assert torch.equal(loss(student.view(4, 3, 2, 2), teacher.view(4, 2, 2, 2)), loss(student, teacher))


@RELATIONAL
def test_batches_that_differ_are_refused(loss):
    with pytest.raises(ValueError, match="differ in shape"):
        loss(vectors(4), vectors(5))


@RELATIONAL
def test_bfloat16_features_count_as_float32_under_autocast(loss):
    """Autocast would take the inner products of the angles in bfloat16."""
    student, teacher = vectors(8, 16).bfloat16(), vectors(8, 16, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(student, teacher)
    torch.testing.assert_close(result, loss(student.float(), teacher.float()), rtol=0, atol=0)
