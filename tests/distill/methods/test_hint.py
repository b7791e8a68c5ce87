import copy

import pytest
import torch
from distill.networks import EXAMPLE, batches, context, step, tiny
from distill.students import TRAIN, objective_of, run_fit, student, training
from torch import Tensor, nn

from kdbench.distill.methods.hint import Hint, Regressor
from kdbench.errors import InputError

SIDES = {"student_layer": "second", "teacher_layer": "first"}
LOGITS = torch.zeros(2, 3)


def hint(**options):
    return Hint.from_recipe("hint", options, context())


def test_it_matches_the_middle_stages_and_starts_from_their_shapes():
    term = hint()
    assert term.student_layers == term.teacher_layers == ("first",)
    assert (term.regressor.map.in_channels, term.regressor.map.out_channels) == (4, 8)


def test_it_is_weighted_mse_behind_convolution_norm_and_relu():
    term = hint(hint_weight=3, **SIDES)
    feature, target = torch.randn(2, 8, 4, 4), torch.rand(2, 8, 8, 8)
    result = term(step(LOGITS, LOGITS, student_features={"second": feature}, teacher_features={"first": target}))
    enlarged = nn.functional.interpolate(feature, size=(8, 8), mode="bilinear", align_corners=False)
    mapped = torch.einsum("oc,bchw->bohw", term.regressor.map.weight[:, :, 0, 0], enlarged)
    mean, variance = mapped.mean(dim=(0, 2, 3), keepdim=True), mapped.var(dim=(0, 2, 3), correction=0, keepdim=True)
    expected = 3 * (((mapped - mean) / (variance + 1e-5).sqrt()).clamp_min(0) - target).square().mean()
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3, 8, 8), (2, 5, 4, 4)), ((2, 3, 4, 4), (2, 5, 9, 7)), ((2, 3), (2, 5))]
)
def test_the_regressor_gives_the_teachers_shape(student, teacher):
    assert Regressor(torch.rand(student), torch.rand(teacher))(torch.rand(student)).shape == teacher


@pytest.mark.parametrize(("teacher", "reaches"), [(torch.rand(2, 5, 4, 4), False), (-torch.rand(2, 5, 4, 4), True)])
def test_the_regressor_reaches_below_zero_where_the_teacher_does(teacher, reaches):
    assert bool((Regressor(torch.rand(2, 3, 4, 4), teacher)(torch.rand(2, 3, 4, 4)) < 0).any()) == reaches


def test_a_map_and_a_vector_do_not_match():
    with pytest.raises(InputError, match="a map cannot be matched with a vector") as caught:
        hint(student_layer="head")
    assert "student_layer" in caught.value.hint


def test_a_layer_that_is_not_there_is_refused_by_name():
    with pytest.raises(InputError, match="no layer 'frist'") as caught:
        hint(student_layer="frist")
    assert "did you mean 'first'" in caught.value.hint


def test_setting_it_up_leaves_the_networks_as_they_were():
    networks = context()
    networks.student.train()
    networks.student.dropout.eval()  # a part that stays as it is
    before = {name: value.clone() for name, value in networks.student.state_dict().items()}
    Hint.from_recipe("hint", {}, networks)
    assert networks.student.training
    assert not networks.student.dropout.training
    assert networks.student.first.training
    assert all(torch.equal(value, before[name]) for name, value in networks.student.state_dict().items())
    assert not networks.student.first._forward_hooks


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_first_of_two_stages_moves_no_weight_above_the_hint(tmp_path, optimizer):
    """Not even by weight decay or momentum; the second stage moves them, and the regressor no longer."""
    options = {"optimizer": {"name": optimizer, "lr": 0.01, "weight_decay": 0.1}, "keep": "last"}
    entry = student({"method": "hint", "until_epoch": 2, "alone": True}, training={"epochs": 3})
    moved, regressors = [], []
    for epochs in (2, 3):
        learner = tiny()
        before = {name: value.clone() for name, value in learner.named_parameters()}
        torch.manual_seed(0)
        objective = objective_of(entry, learner, tiny(1, width=8))
        regressor = objective.terms[0].method.regressor
        fresh = regressor.map.weight.detach().clone()
        run_fit(tmp_path / str(epochs), learner, objective, training(epochs=3, stop_at=epochs, **options))
        moved.append(
            {name.partition(".")[0] for name, p in learner.named_parameters() if not torch.equal(p, before[name])}
        )
        assert not torch.equal(regressor.map.weight, fresh)
        regressors.append(regressor.map.weight.detach().clone())
    assert moved == [{"first"}, {"first", "second", "head"}]
    assert torch.equal(*regressors)


def test_the_record_tells_its_layers():
    assert hint(**SIDES).formula() == "100·MSE(regressor(second), first)"


def test_vectors_are_matched_too():
    def dense(width):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 3))
        network.stages = ("2",)
        return network

    networks = context(dense(5), dense(9))
    term = Hint.from_recipe("hint", {}, networks)
    features = {"2": torch.rand(2, 5)}, {"2": torch.rand(2, 9)}
    assert term(step(LOGITS, LOGITS, student_features=features[0], teacher_features=features[1])).isfinite()
    assert networks.student(EXAMPLE).shape == (2, 3)


class Rectified(nn.Module):
    """A convolution, a batch norm that is the hint layer, a ReLU that may overwrite it, and a head."""

    def __init__(self, width: int, *, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(width)
        self.conv, self.bn = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)
        self.relu, self.head = nn.ReLU(inplace=inplace), nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.relu(self.bn(self.conv(images))).mean(dim=(2, 3)))


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("others", [(), ({"method": "kd", "kd_weight": 0},)])
def test_a_layer_before_an_operation_in_place_is_matched_as_it_is(tmp_path, inplace, others):
    """As by a loop without hooks; a term of weight zero, which needs the teacher's logits, changes nothing."""
    learner, teacher = (Rectified(width, inplace=inplace) for width in (4, 8))
    layers = {"student_layer": "bn", "teacher_layer": "bn"}
    objective = objective_of(student({"method": "hint", **layers}, *others, ce_weight=1), learner, teacher)
    regressor = copy.deepcopy(objective.terms[0].method.regressor)
    plain, guide = copy.deepcopy(learner), copy.deepcopy(teacher).eval()
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": 0, "weight_decay": 0}
    options = {"optimizer": optimizer, "schedule": {"name": "constant"}, "epochs": 2, "keep": "last"}
    summary = run_fit(tmp_path, learner, objective, training(**options))

    optimizer = torch.optim.SGD([*plain.parameters(), *regressor.parameters()], lr=0.01)
    shown, losses = batches(TRAIN, 16, train=True, seed=5), []
    for epoch in range(2):
        shown.set_epoch(epoch)
        for batch in shown:
            normed = plain.bn(plain.conv(batch.inputs))
            logits = plain.head(torch.relu(normed).mean(dim=(2, 3)))
            mapped = regressor.norm(nn.functional.conv2d(normed, regressor.map.weight))
            target = guide.bn(guide.conv(batch.inputs)).detach()
            loss = nn.functional.cross_entropy(logits, batch.labels) + 100 * (mapped - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    means = torch.tensor(losses).view(2, -1).mean(dim=1)
    torch.testing.assert_close(torch.tensor([row.train_loss for row in summary.curve]), means, rtol=1e-5, atol=0)
    for name, value in plain.named_parameters():
        torch.testing.assert_close(dict(learner.named_parameters())[name], value.detach(), rtol=1e-4, atol=1e-6)
    assert not regressor.rectify


def test_a_vector_that_rarely_is_negative_is_not_rectified():
    """Two samples of positive numbers do not show that a layer gives no others."""

    def network():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Linear(2, 3))

    teacher = network()
    with torch.no_grad():
        teacher[1].bias.fill_(0.5)
    example = torch.zeros(2, 1, 8, 8)
    assert (teacher[1](teacher[0](example)) > 0).all()
    layers = {"student_layer": "1", "teacher_layer": "1"}
    assert not Hint.from_recipe("hint", layers, context(network(), teacher, example=example)).regressor.rectify
    teacher[1] = nn.Sequential(teacher[1], nn.ReLU())
    assert Hint.from_recipe("hint", layers, context(network(), teacher, example=example)).regressor.rectify
