import pytest
import torch
from distill.networks import EXAMPLE, context, random_logits, step, tiny
from distill.students import objective_of, run_fit, student, training
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch.nn.functional import cross_entropy

from kdbench.data.batches import Batch
from kdbench.distill.losses.logits import softened_kl
from kdbench.distill.methods.mutual import Mutual
from kdbench.errors import InputError
from kdbench.recipe import Model

BATCH = Batch(EXAMPLE, torch.tensor([0, 1]), torch.arange(2), torch.arange(2))


def mutual(**options):
    return Mutual.from_recipe("mutual", options, context())


def kl(teacher, learner, temperature=1):
    p, q = (softmax(logits.detach().double().numpy() / temperature, axis=1) for logits in (teacher, learner))
    return temperature**2 * entropy(p, q, axis=1).mean()


def ce(logits, labels):
    return -log_softmax(logits.detach().double().numpy(), axis=1)[range(len(labels)), labels].mean()


@pytest.mark.parametrize("temperature", [1, 2])
def test_everyone_learns_from_everyone_and_the_peers_from_the_labels(temperature):
    """Zhang et al. 2018, eq. 8 and 9: for each network the mean of its divergences from the others."""
    term = mutual(peers=2, mutual_weight=0.5, peer_ce_weight=2, temperature=temperature).eval()
    student = random_logits(2)
    one, other = (peer(EXAMPLE) for peer in term.peers)
    result = term(step(student, inputs=EXAMPLE, labels=torch.tensor([0, 2]))).item()
    parts = [
        kl(one, student, temperature) + kl(other, student, temperature),
        kl(student, one, temperature) + kl(other, one, temperature),
        kl(student, other, temperature) + kl(one, other, temperature),
    ]
    expected = 0.5 * sum(parts) / 2 + 2 * (ce(one, [0, 2]) + ce(other, [0, 2]))
    assert result == pytest.approx(expected, rel=1e-5)


def test_each_network_gets_the_gradient_of_its_own_loss_alone():
    learner = tiny().eval()
    objective = objective_of(student({"method": "mutual"}), learner).eval()
    (peer,) = objective.terms[0].method.peers
    objective(learner, BATCH, 0)[0].backward()
    result = [[p.grad.clone() for p in network.parameters()] for network in (learner, peer)]
    for network, other, gradients in ((learner, peer, result[0]), (peer, learner, result[1])):
        network.zero_grad()
        logits = network(EXAMPLE)
        student_loss = cross_entropy(logits, BATCH.labels) + softened_kl(logits, other(EXAMPLE).detach(), 1)
        student_loss.backward()
        for p, gradient in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(gradient, p.grad, rtol=1e-4, atol=1e-6)


def test_peers_are_of_the_students_model_or_of_those_that_are_named():
    built = []

    def build(model, number):
        built.append((model, number))
        return tiny(number)

    Mutual.from_recipe("mutual", {"peers": 2}, context(build=build))
    Mutual.from_recipe("mutual", {"models": ["resnet20", {"name": "convnet", "widths": [8]}]}, context(build=build))
    assert built[:2] == [(None, 1), (None, 2)]
    assert built[2:] == [(Model(name="resnet20"), 1), (Model(name="convnet", widths=[8]), 2)]
    assert built[3][0].options == {"widths": [8]}


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"peers": 2, "models": ["resnet20"]}, "peers and models exclude each other", "leave one of them out"),
        ({"peers": 0}, "peers", "options: mutual_weight"),
        ({"models": "resnet20"}, "models", "options: mutual_weight"),
        ({"models": [{"width": 1}]}, "models", "options: mutual_weight"),
    ],
)
def test_peers_that_make_no_sense_are_refused_with_a_hint(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        mutual(**options)
    assert hint in caught.value.hint


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_peers_learn_in_training_mode_and_stay_behind(tmp_path, precision):
    """No teacher is needed, and the peers end in the checkpoint neither of the student nor of anybody."""
    learner = tiny()
    objective = objective_of(student({"method": "mutual", "peers": 2}), learner)
    peers = objective.terms[0].method.peers
    modes = []
    peers[0].register_forward_hook(lambda module, *_: modes.append(module.training))
    before = [{name: value.clone() for name, value in peer.named_parameters()} for peer in peers]
    summary = run_fit(tmp_path, learner, objective, training(epochs=2, precision=precision))
    assert all(
        not torch.equal(p, fresh[name])
        for peer, fresh in zip(peers, before, strict=True)
        for name, p in peer.named_parameters()
    )
    assert modes == [True] * 12, "six steps an epoch, and none in validation"
    assert not objective.teachers
    assert summary.curve[1].train_loss < summary.curve[0].train_loss


def test_mixed_labels_teach_the_peers_too():
    mixed = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    assert mutual()(step(random_logits(2), inputs=EXAMPLE, labels=mixed)).isfinite()


def test_the_students_smoothing_is_the_peers_too():
    """Each part of the loss is torch's cross-entropy with that smoothing, the one for the student and the peers'."""
    learner = tiny()
    entry = student({"method": "mutual", "mutual_weight": 0, "peers": 2}, training={"label_smoothing": 0.3})
    objective = objective_of(entry, learner)
    loss, logits = objective(learner, BATCH, epoch=0)
    with torch.no_grad():
        everyone = [logits, *(peer(EXAMPLE) for peer in objective.terms[0].method.peers)]
    expected = sum(cross_entropy(outputs, BATCH.labels, label_smoothing=0.3) for outputs in everyone)
    assert loss.item() == pytest.approx(expected.item())


def test_the_record_says_how_peers_learn_from_labels_that_the_student_does_not_look_at():
    entry = student({"method": "mutual"}, ce_weight=0, training={"label_smoothing": 0.3})
    assert objective_of(entry, tiny()).formula(3).endswith("; CE with label smoothing 0.3")


def test_the_record_tells_who_learns_what():
    assert mutual().formula() == "1·T²·mean KL(peer‖s), T = 1, + 1 peer's own (1·CE + 1·T²·mean KL(other‖peer))"
    assert "+ 2 peers' own" in mutual(peers=2).formula()
