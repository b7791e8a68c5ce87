import pytest
import torch
from distill.networks import batches, stripes, tiny
from torch import nn

from kdbench.distill.initial_weights import SubStudent, fuse, interpolate_weights, re_estimate
from kdbench.errors import InputError
from kdbench.models.staged import Fused
from kdbench.recipe import Start


def images():
    return batches(stripes(48), batch=48)


def start(share, **keys):
    return Start(share=share, **keys)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_lie_on_the_line_between_the_two(share):
    network, fresh, teacher = tiny(0), tiny(0), tiny(1)
    interpolate_weights(network, teacher, start(share), images())
    for name, value in network.named_parameters():
        expected = (1 - share) * fresh.get_parameter(name) + share * teacher.get_parameter(name)
        torch.testing.assert_close(value, expected, msg=name)
    assert network.training


def test_batch_norm_is_that_of_the_training_images_under_the_mixed_weights():
    network = tiny(0)
    interpolate_weights(network, tiny(1), start(0.5), images())
    (batch,) = images()
    convolved = network.first[0](batch.inputs)
    torch.testing.assert_close(network.first[1].running_mean, convolved.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(network.first[1].running_var, convolved.var(dim=(0, 2, 3)))


def test_batch_norm_can_be_mixed_too():
    network, fresh, teacher = tiny(0), tiny(0), tiny(1)
    teacher.first[1].running_mean += 2
    interpolate_weights(network, teacher, start(0.5, batch_norm="mix"), images())
    expected = (fresh.first[1].running_mean + teacher.first[1].running_mean) / 2
    torch.testing.assert_close(network.first[1].running_mean, expected)


def test_a_re_estimate_is_the_mean_over_batches_and_draws_no_dropout():
    network = tiny(0, dropout=0.5)
    state = torch.random.get_rng_state()
    re_estimate(network, batches(stripes(48), batch=16))
    assert torch.equal(torch.random.get_rng_state(), state)
    means = [network.first[0](b.inputs).mean(dim=(0, 2, 3)) for b in batches(stripes(48), batch=16)]
    torch.testing.assert_close(network.first[1].running_mean, torch.stack(means).mean(dim=0))
    assert network.first[1].momentum == 0.1


def test_another_shape_is_refused():
    with pytest.raises(InputError, match="same shape"):
        interpolate_weights(tiny(0), tiny(1, width=8), start(0.5), images())


IMAGES = torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8)


def parts(count=3):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(SubStudent(tiny(seed, classes=5), features=5, classes=3))
    return made


def fused(count=3):
    learned = parts(count)
    network = Fused([tiny(10 + seed, classes=5) for seed in range(count)], features=5, classes=3)
    fuse(network, learned)
    return network, learned


def test_the_fused_network_begins_with_the_mean_of_the_parts_answers():
    network, learned = fused()
    expected = torch.stack([part.eval()(IMAGES) for part in learned]).mean(dim=0)
    torch.testing.assert_close(network.eval()(IMAGES), expected)


def test_the_head_is_one_linear_layer_over_all_features():
    network, _ = fused()
    assert isinstance(network.head, nn.Linear)
    assert (network.head.in_features, network.head.out_features) == (15, 3)


def test_only_the_head_is_trained_and_frozen_trunks_stay_in_evaluation_mode():
    network, _ = fused()
    network.freeze_trunks()
    network.train()
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert network.training
    assert not any(module.training for module in network.trunks.modules())
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(IMAGES)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_everything_can_be_tuned():
    network, _ = fused()
    network.train()
    assert all(p.requires_grad for p in network.parameters())
    assert all(module.training for module in network.trunks.modules())


def test_a_part_passes_its_trunks_stages_on():
    (part,) = parts(1)
    assert part.stages == ("trunk.first", "trunk.second")
    assert part(IMAGES).shape == (4, 3)
