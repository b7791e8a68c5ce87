import torch
from networks import tiny
from torch import nn

from kdbench.distill.sub_students import SubStudent, fuse
from kdbench.models.fused import Fused

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
