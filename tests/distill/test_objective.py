"""A student's loss: its terms, when they hold, and what is refused."""

import pytest
import torch
from distill.networks import EXAMPLE, context, tiny
from distill.students import objective_of, student
from scipy.special import softmax
from scipy.stats import entropy
from torch.nn.functional import cross_entropy

from kdbench.data.batches import Batch
from kdbench.distill.objective import student_terms
from kdbench.errors import InputError

LABELS = torch.tensor([0, 1])
BATCH = Batch(EXAMPLE, LABELS, torch.arange(2), torch.arange(2))
KD = {"method": "kd"}
HINT = {"method": "hint"}
TWO_STAGES = ({**HINT, "until_epoch": 2, "alone": True}, {**KD, "from_epoch": 2})


def counted(network):
    """Count the forwards of a network."""
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_terms_add_up_and_reach_only_the_student():
    learner, teacher = tiny(), tiny(1, width=8)
    entry = student(KD, {**HINT, "hint_weight": 2}, ce_weight=0.25)
    objective = objective_of(entry, learner, teacher)
    loss, logits = objective(learner, BATCH, epoch=0)
    loss.backward()
    assert logits.shape == (2, 3)
    assert all(p.grad is not None for p in learner.parameters())
    assert all(p.grad is not None for p in objective.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert len(list(objective.parameters())) == len(list(objective.terms[1].method.regressor.parameters()))
    assert objective.formula(10).startswith("0.25·CE + 0.9·T²·KL")


@pytest.mark.parametrize(
    ("terms", "keys", "expected"),
    [
        ((), {}, "CE"),
        ((), {"training": {"label_smoothing": 0.1}}, "CE (label smoothing 0.1)"),
        ((), {"data": {"augment": {"mixup": 0.5}}}, "CE (mixed labels)"),
        (
            ({**KD, "until_epoch": 2},),
            {"ce_weight": 0.5, "training": {"label_smoothing": 0.1}, "data": {"augment": {"cutmix": 1}}},
            "0.5·{ce} + 0.9·T²·KL(t‖s), T = 4 (epochs 1–2); {ce} in other epochs",
        ),
        ((KD,), {"ce_weight": 0, "training": {"label_smoothing": 0.1}}, "0.9·T²·KL(t‖s), T = 4"),
    ],
)
def test_the_formula_says_what_changes_the_labels(terms, keys, expected):
    assert objective_of(student(*terms, **keys), tiny(), tiny(1)).formula(10) == expected.format(
        ce="CE (mixed labels, label smoothing 0.1)"
    )


def test_the_teacher_teaches_and_the_student_learns():
    """KL(teacher ‖ student) of the two networks' own answers; swapped, it would be another number."""
    learner, teacher = tiny().eval(), tiny(1, width=8)
    with torch.no_grad():
        teacher.head.bias.add_(torch.tensor([2.0, 0, -1]))
    objective = objective_of(student({**KD, "kd_weight": 1, "temperature": 1}, ce_weight=0), learner, teacher)
    result, logits = objective(learner, BATCH, epoch=0)
    q = softmax(logits.detach().double().numpy(), axis=1)
    p = softmax(teacher(EXAMPLE).double().numpy(), axis=1)
    assert result.item() == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-5)
    assert result.item() != pytest.approx(entropy(q, p, axis=1).mean(), rel=0.05)


def test_without_a_weight_the_first_terms_usual_one_holds():
    result = [objective_of(student(*terms), tiny(), tiny(1)).ce_weight for terms in ((), (KD,), (HINT,), (KD, HINT))]
    assert result == [1, 0.1, 1, 0.1]


def test_labels_are_not_looked_at_when_their_weight_is_zero():
    learner = tiny().eval()
    objective = objective_of(student(KD, ce_weight=0), learner, tiny(1))
    losses = [
        objective(learner, BATCH._replace(labels=torch.tensor(labels)), 0)[0].item() for labels in ([0, 1], [2, 2])
    ]
    assert losses[0] == losses[1]


def test_early_stopped_distillation_goes_on_with_the_labels_alone():
    learner, teacher = tiny().eval(), tiny(1)
    calls = counted(teacher)
    objective = objective_of(student({**KD, "until_epoch": 3}, ce_weight=0.5), learner, teacher)
    for epoch in range(6):
        loss, logits = objective(learner, BATCH, epoch)
        only_labels = cross_entropy(logits, LABELS).item()  # with a weight of 1, as a student without terms
        assert (loss.item() == pytest.approx(only_labels, rel=1e-6)) == (epoch >= 3)
    assert len(calls) == 3, "a teacher that no active term needs does not run"
    assert objective.formula(6) == "0.5·CE + 0.9·T²·KL(t‖s), T = 4 (epochs 1–3); CE in other epochs"
    assert objective.formula(3) == "0.5·CE + 0.9·T²·KL(t‖s), T = 4 (epochs 1–3)"


def test_a_teacher_is_not_asked_while_only_peers_are_listened_to():
    learner, teacher = tiny().eval(), tiny(1)
    calls = counted(teacher)
    objective = objective_of(student({**KD, "until_epoch": 1}, {"method": "mutual"}), learner, teacher)
    for epoch in range(3):
        objective(learner, BATCH, epoch)
    assert len(calls) == 1


def test_while_a_term_is_alone_neither_labels_nor_other_terms_count():
    learner, teacher = tiny().eval(), tiny(1, width=8)
    objective = objective_of(student(*TWO_STAGES, KD, ce_weight=1), learner, teacher)
    assert [[type(term.method).__name__ for term in objective.active_terms(epoch)] for epoch in (0, 1, 2)] == [
        ["Hint"],
        ["Hint"],
        ["Kd", "Kd"],
    ]
    objective.eval()
    with torch.no_grad():
        alone = objective_of(student(HINT, ce_weight=0), learner, teacher).eval()
        alone.load_state_dict({name: v for name, v in objective.state_dict().items() if name.startswith("terms.0")})
        assert objective(learner, BATCH, 1)[0] == alone(learner, BATCH, 1)[0]
    assert objective.formula(10).endswith(
        "(epochs 1–2, alone) + 0.9·T²·KL(t‖s), T = 4 (from epoch 3) + 0.9·T²·KL(t‖s), T = 4"
    )


def test_the_first_of_two_stages_reaches_the_layers_up_to_the_hint_and_the_regressor():
    learner, teacher = tiny(), tiny(1, width=8)
    objective = objective_of(student(*TWO_STAGES), learner, teacher)
    objective(learner, BATCH, epoch=0)[0].backward()
    assert all(p.grad is not None for p in [*learner.first.parameters(), *objective.parameters()])
    assert all(p.grad is None for p in [*learner.second.parameters(), *learner.head.parameters()])
    objective(learner, BATCH, epoch=2)[0].backward()
    assert all(p.grad is not None for p in learner.parameters())


def test_a_student_with_neither_labels_nor_terms_is_refused():
    with pytest.raises(InputError, match="has nothing to learn from"):
        student_terms(student(ce_weight=0), context())


def test_without_labels_beside_its_terms_a_student_learns_from_them_when_no_term_holds():
    learner, teacher = tiny().eval(), tiny(1)
    objective = objective_of(student({"method": "function_matching", "until_epoch": 2}), learner, teacher)
    loss, logits = objective(learner, BATCH, 2)
    torch.testing.assert_close(loss, cross_entropy(logits, LABELS))


def test_times_below_one_are_shares_of_all_epochs():
    entry = student({**KD, "from_epoch": 0.25, "until_epoch": 0.5}, training={"epochs": 12, "stop_at": 0.75})
    (term,) = student_terms(entry, context())
    assert (term.from_epoch, term.until_epoch, entry.training.last_epoch) == (3, 6, 9)
    short = student({**KD, "until_epoch": 0.1}, training={"epochs": 3})
    assert student_terms(short, context())[0].until_epoch == 1


@pytest.mark.parametrize(
    ("terms", "keys", "message", "hint"),
    [
        ([{"method": "hnt"}], {}, "unknown method 'hnt'", "did you mean 'hint'"),
        ([{**KD, "from_epoch": 3, "until_epoch": 3}], {}, "never", "until_epoch above from_epoch"),
        ([{**KD, "until_epoch": 6}], {"training": {"epochs": 5}}, "has 5 epochs", "smaller until_epoch"),
        ([KD], {"teacher": ["a", "b"]}, "no term uses more than one", "multi_teacher"),
        ([{"method": "dkd"}], {"data": {"augment": {"mixup": 1}}}, "dkd compares single samples", "mixup"),
        ([KD, {"method": "contrastive"}], {"data": {"augment": {"cutmix": 1}}}, "contrastive compares", "cutmix"),
        ([{"method": "contrastive"}], {"training": {"devices": 2}}, "memory of all samples", "training.devices"),
        ([{"method": "contrastive"}], {"training": {"num_nodes": 2}}, "memory of all samples", "num_nodes"),
    ],
)
def test_what_does_not_go_together_is_refused(terms, keys, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        student_terms(student(*terms, **keys), context())
    assert hint in caught.value.hint


def test_labels_of_mixed_images_are_distributions():
    learner = tiny().eval()
    mixed = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.5, 0.5]])
    loss, logits = objective_of(student(), learner)(learner, BATCH._replace(labels=mixed), 0)
    expected = -(mixed * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)


def test_the_loss_is_float32_under_autocast():
    learner, teacher = tiny(), tiny(1, width=8)
    objective = objective_of(student(KD, HINT), learner, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        loss, logits = objective(learner, BATCH, 0)
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)


def test_features_are_asked_of_the_first_teacher_alone():
    """Another teacher need not have the layer, and its features would be copied for nothing."""
    learner, first, second = tiny(), tiny(1, width=8), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    entry = student({"method": "multi_teacher"}, HINT, teacher=["a", "b"])
    loss, _ = objective_of(entry, learner, first, second)(learner, BATCH, 0)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("training", [{"epochs": 5}, {"epochs": 9, "stop_at": 5}])
def test_a_term_that_begins_after_the_last_epoch_is_refused(training):
    with pytest.raises(InputError, match="has 5 epochs"):
        student_terms(student({**KD, "from_epoch": 5}, training=training), context())
