"""Methods on networks that give channels last, tokens and sequences: the losses of plain torch on what layers give."""

import itertools

import pytest
import torch
from distill.networks import context, tiny
from distill.students import objective_of, student
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from kdbench.data.batches import Batch
from kdbench.distill.method import Method, MethodOptions
from kdbench.distill.methods import METHODS
from kdbench.distill.teaching.stored_logits import StoredLogits
from kdbench.errors import InputError

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
BATCH = Batch(IMAGES, LABELS, torch.arange(6), torch.arange(6))


def swin() -> nn.Module:
    """Its first stage gives (B, 4, 4, 4), its last (B, 2, 2, 8), both with channels last."""
    torch.manual_seed(0)
    return SwinTransformer([2, 2], 4, [1, 1], [1, 1], [2, 2], num_classes=3)


def swin_v2() -> nn.Module:
    torch.manual_seed(3)
    options = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
    return SwinTransformer([2, 2], 4, [1, 1], [1, 1], [2, 2], num_classes=3, **options)


def vit(patch: int = 2, width: int = 16) -> nn.Module:
    """Its blocks give a class token and 16 others for patches of 2×2, or 4 for patches of 4×4."""
    torch.manual_seed(1)
    return VisionTransformer(8, patch, 2, 2, width, 8, num_classes=3)


def cnn() -> nn.Module:
    """Its maps are (B, 4, 4, 4) and (B, 8, 2, 2)."""
    torch.manual_seed(2)
    first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU())
    return nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def feature_of(network, layer) -> Tensor:
    values = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *call: values.append(call[2].detach()))
    network(IMAGES)
    handle.remove()
    return values[0]


def as_maps(network, layer) -> Tensor:
    """What a layer of one of these networks gives, as (B, C, H, W)."""
    value = feature_of(network, layer)
    if isinstance(network, SwinTransformer):
        return value.permute(0, 3, 1, 2)
    if isinstance(network, VisionTransformer):
        side = int((value.shape[1] - 1) ** 0.5)
        return torch.stack([value[:, 1 + place] for place in range(side * side)], dim=2).unflatten(2, (side, side))
    return value


def loss_of(method, learner, teacher, learner_layer, teacher_layer, **options) -> tuple[float, Method]:
    """The loss of a term alone, from a step of a training."""
    layers = {"student_layer": learner_layer, "teacher_layer": teacher_layer}
    if method == "attention":
        layers = {"student_layers": [learner_layer], "teacher_layers": [teacher_layer]}
    entry = student({"method": method, **layers, **options}, ce_weight=0)
    objective = objective_of(entry, learner.eval(), teacher.eval(), example=IMAGES[:2])
    loss, _ = objective(learner, BATCH, 0)
    return loss.item(), objective.terms[0].method


NETWORKS = {
    "swin": (swin, "features.3"),
    "swin v2": (swin_v2, "features.3"),
    "vit": (vit, "encoder.layers.encoder_layer_1"),
    "coarse vit": (lambda: vit(4), "encoder.layers.encoder_layer_0"),
    "cnn": (cnn, "1"),
}
COARSE = [("coarse vit", "vit"), ("vit", "coarse vit"), ("cnn", "coarse vit"), ("cnn", "swin v2")]
PAIRS = pytest.mark.parametrize(("one", "other"), [*itertools.permutations(("swin", "vit", "cnn"), 2), *COARSE])


@PAIRS
def test_relations_are_those_of_the_channels(one, other):
    (make, layer), (make_teacher, teacher_layer) = NETWORKS[one], NETWORKS[other]
    learner, teacher = make().eval(), make_teacher().eval()
    relative = []
    for vectors in (as_maps(learner, layer).mean(dim=(2, 3)), as_maps(teacher, teacher_layer).mean(dim=(2, 3))):
        distances = torch.tensor([[(a - b).norm().item() for a in vectors] for b in vectors])
        relative.append(distances / distances.sum() * 30)
    expected = functional.smooth_l1_loss(*relative).item()
    weights = {"relational_distance_weight": 1, "relational_angle_weight": 0}
    assert loss_of("relational", learner, teacher, layer, teacher_layer, **weights)[0] == pytest.approx(
        expected, rel=1e-4
    )


@PAIRS
def test_attention_is_the_mean_over_channels(one, other):
    (make, layer), (make_teacher, teacher_layer) = NETWORKS[one], NETWORKS[other]
    learner, teacher = make().eval(), make_teacher().eval()
    maps = as_maps(learner, layer), as_maps(teacher, teacher_layer)
    side = min(value.shape[2] for value in maps)
    attention = []
    for value in maps:
        factor = value.shape[2] // side
        cells = value.unflatten(2, (side, factor)).unflatten(4, (side, factor)).mean(dim=(3, 5))
        q = cells.square().mean(dim=1).flatten(1)
        attention.append(q / q.norm(dim=1, keepdim=True))
    expected = (attention[0] - attention[1]).square().mean().item()
    loss, _ = loss_of("attention", learner, teacher, layer, teacher_layer, attention_weight=1)
    assert loss == pytest.approx(expected, rel=1e-4)


@PAIRS
def test_a_hint_maps_channels_to_channels(one, other):
    (make, layer), (make_teacher, teacher_layer) = NETWORKS[one], NETWORKS[other]
    learner, teacher = make().eval(), make_teacher().eval()
    loss, term = loss_of("hint", learner, teacher, layer, teacher_layer, hint_weight=1)
    value, target = as_maps(learner, layer), as_maps(teacher, teacher_layer)
    weight = term.regressor.map.weight
    assert weight.shape[:2] == (target.shape[1], value.shape[1])
    if value.shape[2] > target.shape[2]:
        value = value.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean(dim=(3, 5))
    elif value.shape[2] < target.shape[2]:
        value = functional.interpolate(value, scale_factor=2, mode="bilinear")
    mapped = torch.einsum("oc,bchw->bohw", weight.flatten(1), value)
    mean, variance = mapped.mean(dim=(0, 2, 3), keepdim=True), mapped.var(dim=(0, 2, 3), correction=0, keepdim=True)
    normed = (mapped - mean) / (variance + 1e-5).sqrt()
    if term.regressor.rectify:
        normed = normed.relu()
    assert loss == pytest.approx((normed - target).square().mean().item(), rel=1e-4)


def test_contrastive_embeds_the_mean_of_the_tokens():
    learner, teacher = vit().eval(), swin().eval()
    layers = {"student_layer": "encoder", "teacher_layer": "features.3"}
    term = METHODS.get("contrastive").from_recipe("contrastive", layers, context(learner, teacher, example=IMAGES[:2]))
    assert (term.embed_student.linear.in_features, term.embed_teacher.linear.in_features) == (16, 8)
    tokens = feature_of(learner, "encoder")[:, 1:]
    expected = functional.normalize(term.embed_student.linear(tokens.mean(dim=1)), dim=1)
    torch.testing.assert_close(term.embed_student(tokens), expected)


def test_the_class_token_can_be_named():
    learner, teacher = vit().eval(), cnn().eval()
    options = {"student_layout": "class_token", "relational_distance_weight": 1, "relational_angle_weight": 0}
    loss, term = loss_of("relational", learner, teacher, "encoder", "1", **options)
    assert term.formula() == "1·SmoothL1(distances) of encoder (class token), 1"
    relative = []
    for vectors in (feature_of(learner, "encoder")[:, 0], feature_of(teacher, "1").mean(dim=(2, 3))):
        distances = torch.cdist(vectors, vectors)
        relative.append(distances / distances.sum() * 30)
    assert loss == pytest.approx(functional.smooth_l1_loss(*relative).item(), rel=1e-3)
    with pytest.raises(InputError, match="has no class token"):
        loss_of("relational", cnn_on_tokens(), teacher, "0", "1", student_layout="class_token")


def cnn_on_tokens() -> nn.Module:
    layers = [nn.Sequential(nn.Flatten(2), nn.Linear(64, 5)), nn.Flatten(), nn.Linear(15, 3)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("method", ["hint", "attention"])
def test_tokens_of_unknown_places_and_maps_are_refused(method):
    with pytest.raises(InputError, match="positions in the image are not known cannot be matched with a map"):
        loss_of(method, cnn_on_tokens(), cnn(), "0", "1", student_layout="NLC")


def test_sequences_of_different_lengths_are_matched_step_by_step():
    """(B, 3, 12) through convolutions of different strides: tokens in order."""

    def network(stride):
        torch.manual_seed(stride)
        layers = [nn.Conv1d(3, 4, 3, stride=stride, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(4, 3))

    sequences = torch.randn(6, 3, 12)
    learner, teacher = network(1).eval(), network(2).eval()
    entry = student({"method": "hint", "student_layer": "0", "teacher_layer": "0", "hint_weight": 1}, ce_weight=0)
    objective = objective_of(entry, learner, teacher, example=sequences[:2])
    loss, _ = objective(learner, BATCH._replace(inputs=sequences), 0)
    regressor = objective.terms[0].method.regressor
    value = learner[0](sequences).unflatten(2, (6, 2)).mean(dim=3)
    mapped = torch.einsum("oc,bct->bot", regressor.map.weight[:, :, 0], value)
    normed = (mapped - mapped.mean(dim=(0, 2), keepdim=True)) / (
        mapped.var(dim=(0, 2), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    assert loss.item() == pytest.approx((normed - teacher[0](sequences)).square().mean().item(), rel=1e-4)


class Backwards(nn.Sequential):
    def forward(self, inputs):
        return super().forward(inputs.flip(1))


@pytest.mark.parametrize("method", ["hint", "attention"])
def test_steps_in_another_order_are_not_compared_unless_their_axes_are_stated(method):
    def network(kind):
        torch.manual_seed(0)
        return kind(nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))

    def made(**layouts):
        keys = ("student_layers", "teacher_layers") if method == "attention" else ("student_layer", "teacher_layer")
        layers = dict.fromkeys(keys, ("0",) if method == "attention" else "0")
        entry = student({"method": method, **layers, **layouts}, ce_weight=0)
        return objective_of(entry, network(Backwards), network(nn.Sequential), example=torch.randn(2, 6, 3))

    with pytest.raises(InputError, match="steps of the sequence in another order") as refused:
        made()
    assert "NLC" in refused.value.hint
    made(student_layout="NLC")


class Recording(Method):
    """A plug-in's term, which notes the shapes of the features that it gets."""

    Options = MethodOptions
    needs_logits = False
    student_layers = ("features.1", "features.3")
    teacher_layers = ("encoder",)

    def forward(self, step):
        self.student, self.teacher = step.student_features, step.teacher_features
        return step.student_features["features.1"].mean()

    def formula(self) -> str:
        return "a mean"


class Raw(Recording):
    canonical_features = False


@pytest.mark.parametrize(
    ("method", "shapes"),
    [(Recording, [(6, 4, 4, 4), (6, 8, 2, 2), (6, 16, 16)]), (Raw, [(6, 4, 4, 4), (6, 2, 2, 8), (6, 17, 16)])],
)
def test_a_plug_in_gets_canonical_features_unless_it_takes_them_as_they_are(monkeypatch, method, shapes):
    monkeypatch.setattr(METHODS, "get", lambda _name: method)
    learner, teacher = swin(), vit()
    objective = objective_of(student({"method": "recording"}), learner, teacher, example=IMAGES[:2])
    objective(learner, BATCH, 0)
    term = objective.terms[0].method
    assert [tuple(term.student[layer].shape) for layer in method.student_layers] == shapes[:2]
    assert tuple(term.teacher["encoder"].shape) == shapes[2]
    first = feature_of(learner.eval(), "features.1")
    objective(learner, BATCH, 0)
    expected = first if method is Raw else first.permute(0, 3, 1, 2)
    torch.testing.assert_close(term.student["features.1"], expected)


@pytest.mark.parametrize(("teacher", "message"), [(StoredLogits, "no layers"), (cnn, "no layer 'encoder'")])
def test_layers_as_they_are_must_exist_too(monkeypatch, teacher, message):
    monkeypatch.setattr(METHODS, "get", lambda _name: Raw)
    with pytest.raises(InputError, match=message):
        objective_of(student({"method": "recording"}), swin(), teacher(), example=IMAGES[:2])


def test_layers_without_a_path_keep_their_features():
    assert objective_of(student({"method": "kd"}), tiny(), tiny(1)).terms[0].method.student_layouts == {}
