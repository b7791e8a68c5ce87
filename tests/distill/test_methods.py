import pytest
import torch
from networks import tiny

from kdbench.distill.method import Pair, Step
from kdbench.distill.methods import METHODS
from kdbench.distill.methods.hint import Hint
from kdbench.distill.methods.kd import Kd
from kdbench.distill.objective import student_objective
from kdbench.distill.teacher import LiveTeacher
from kdbench.errors import InputError
from kdbench.recipe import Student

EXAMPLE = torch.linspace(-1, 1, 128).view(2, 1, 8, 8)


def pair(student=None, teacher=None):
    return Pair(student or tiny(), teacher or tiny(1, width=8), EXAMPLE)


def student(**keys) -> Student:
    return Student.model_validate({"name": "s", "model": "tiny", **keys})


def test_the_shipped_methods_are_found_by_their_files():
    assert {"kd", "hint"} <= set(METHODS.names())


def test_kd_is_weight_times_softened_kl():
    term = Kd.from_recipe("kd", {"kd_weight": 0.5, "temperature": 2}, pair())
    same = torch.randn(4, 3)
    labels = torch.zeros(4, dtype=torch.long)
    assert term(Step(labels, same, same, 0)).item() == pytest.approx(0, abs=1e-7)
    other = torch.randn(4, 3)
    double = Kd.from_recipe("kd", {"kd_weight": 1, "temperature": 2}, pair())
    torch.testing.assert_close(2 * term(Step(labels, other, same, 0)), double(Step(labels, other, same, 0)))


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"temprature": 2}, "no option 'temprature'", "did you mean 'temperature'"),
        ({"temperature": 0}, "temperature", "options"),
        ({"alpha": 1}, "no option 'alpha'", "kd_weight"),
    ],
)
def test_a_method_refuses_options_it_does_not_have(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        Kd.from_recipe("kd", options, pair())
    assert hint in caught.value.hint


def test_hint_matches_the_middle_stages_and_starts_from_their_shapes():
    term = Hint.from_recipe("hint", {}, pair())
    assert term.student_layers == term.teacher_layers == ("first",)
    assert term.regressor.map.in_channels == tiny().first[0].out_channels
    assert term.regressor.map.out_channels == tiny(width=8).first[0].out_channels


def test_hint_is_weighted_mse_behind_the_regressor():
    term = Hint.from_recipe("hint", {"hint_weight": 3, "student_layer": "second", "teacher_layer": "first"}, pair())
    feature, target = torch.rand(2, 8, 4, 4), torch.rand(2, 8, 8, 8)
    step = Step(
        torch.zeros(2, dtype=torch.long),
        torch.zeros(2, 3),
        torch.zeros(2, 3),
        0,
        {"second": feature},
        {"first": target},
    )
    found = term(step)
    mapped = term.regressor(feature)
    assert mapped.shape == target.shape
    torch.testing.assert_close(found, 3 * ((mapped - target) ** 2).mean())


def test_hint_between_a_map_and_a_vector_is_refused():
    with pytest.raises(InputError, match="a map cannot be matched with a vector"):
        Hint.from_recipe("hint", {"student_layer": "head"}, pair())


def test_setting_a_method_up_leaves_the_networks_as_they_were():
    networks = pair()
    networks.student.train()
    before = {name: value.clone() for name, value in networks.student.state_dict().items()}
    Hint.from_recipe("hint", {}, networks)
    assert networks.student.training
    for name, value in networks.student.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not networks.student.first._forward_hooks


def test_a_live_teacher_answers_in_evaluation_mode_without_a_graph():
    network = tiny(dropout=0.5).train()
    teacher = LiveTeacher(network)
    first, second = teacher.lesson(EXAMPLE, ("second",)), teacher.lesson(EXAMPLE)
    torch.testing.assert_close(first.logits, second.logits)  # dropout and batch statistics are off
    assert not first.logits.requires_grad
    assert not first.features["second"].requires_grad


def test_an_objective_adds_its_terms_and_reaches_only_the_student():
    learner, teacher = tiny(), tiny(1, width=8)
    entry = student(ce_weight=0.25, terms=[{"method": "kd"}, {"method": "hint", "hint_weight": 2}])
    objective = student_objective(entry, learner, teacher, EXAMPLE)
    loss, logits = objective(learner, EXAMPLE, torch.tensor([0, 1]), epoch=0)
    loss.backward()
    assert logits.shape == (2, 3)
    assert all(p.grad is not None for p in learner.parameters())
    assert all(p.grad is not None for p in objective.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert len(list(objective.parameters())) == len(list(objective.terms[1].regressor.parameters()))
    assert objective.formula().startswith("0.25·CE + 0.9·T²·KL")


def test_without_a_weight_the_first_terms_usual_one_holds():
    assert student_objective(student(), tiny(), None, EXAMPLE).ce_weight == 1
    assert student_objective(student(terms=[{"method": "kd"}]), tiny(), tiny(), EXAMPLE).ce_weight == 0.1
    assert student_objective(student(terms=[{"method": "hint"}]), tiny(), tiny(), EXAMPLE).ce_weight == 1


def test_labels_are_not_looked_at_when_their_weight_is_zero():
    learner = tiny().eval()
    objective = student_objective(student(ce_weight=0, terms=[{"method": "kd"}]), learner, tiny(1), EXAMPLE)
    losses = [objective(learner, EXAMPLE, torch.tensor(labels), 0)[0].item() for labels in ([0, 1], [2, 2])]
    assert losses[0] == losses[1]


def test_a_student_with_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="nothing to learn from"):
        student_objective(student(ce_weight=0), tiny(), None, EXAMPLE)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(InputError) as caught:
        student_objective(student(terms=[{"method": "hnt"}]), tiny(), tiny(), EXAMPLE)
    assert "hint" in caught.value.hint
