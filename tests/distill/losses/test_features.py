"""Losses on feature maps against plain loops."""

import numpy as np
import pytest
import torch

from kdbench.distill.losses.features import attention_loss, attention_map, feature_mse


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
    np.testing.assert_allclose(attention_map(features), [looped_map(each) for each in features.numpy()], rtol=1e-12)


def test_attention_loss_is_the_sum_over_layers_of_mean_squares():
    student = [maps(2, 3, 4, 4), maps(2, 6, 2, 2, seed=1)]
    teacher = [maps(2, 8, 4, 4, seed=2), maps(2, 5, 2, 2, seed=3)]  # widths may differ: channels are averaged away
    expected = 0.0
    for own, wanted in zip(student, teacher, strict=True):
        pairs = zip(own.numpy(), wanted.numpy(), strict=True)
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
