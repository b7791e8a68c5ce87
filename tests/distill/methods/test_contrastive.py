import math

import numpy as np
import pytest
import torch
from distill.networks import context, step, tiny
from scipy.stats import chisquare
from torch import nn

from kdbench.distill.methods.contrastive import Contrastive, OtherClasses
from kdbench.errors import InputError

SMALL = {"feature_dim": 4, "negatives": 7}
INDEX = torch.tensor([5, 40, 0])
LABELS = torch.arange(48) % 3


def contrastive(networks=None, **options):
    torch.manual_seed(0)
    return Contrastive.from_recipe("contrastive", {**SMALL, **options}, networks or context())


def one_step(seed=0, position=INDEX):
    maps = torch.Generator().manual_seed(seed)
    batch = len(position)
    return step(
        torch.zeros(batch, 3),
        torch.zeros(batch, 3),
        student_features={"second": torch.randn(batch, 8, 4, 4, generator=maps)},
        teacher_features={"second": torch.randn(batch, 16, 4, 4, generator=maps)},
        position=position,
        labels=LABELS[position],
    )


def embedded(linear, maps):
    vectors = linear(maps.mean(dim=(2, 3))).detach().double().numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def one_side(anchors, memory, samples, partition):
    """Tian et al. 2020, eq. 18, pair by pair; the positive is the first sample. Returns the loss and the partition.

    The partition of the first batch is the authors' estimate: the mean of exp(score / τ) times the number of samples.
    """
    scores = np.exp([[anchor @ memory[i] / 0.07 for i in row] for anchor, row in zip(anchors, samples, strict=True)])
    partition = partition or scores.mean() * len(memory)
    noise = (samples.shape[1] - 1) / len(memory)
    total = 0.0
    for row in scores / partition:
        total -= math.log(row[0] / (row[0] + noise)) + sum(math.log(noise / (p + noise)) for p in row[1:])
    return total / len(anchors), partition


def test_it_is_the_loop_over_pairs_in_both_directions_and_remembers_embeddings():
    """Three batches, the third with the first's samples: memories as they were left, constants those of the first."""
    term = contrastive(contrastive_weight=0.5)
    memories = [term.student_memory.double().numpy().copy(), term.teacher_memory.double().numpy().copy()]
    partitions = [None, None]
    for number, index in enumerate((INDEX, torch.tensor([1, 2, 3]), INDEX)):
        batch = one_step(number, index)
        torch.manual_seed(number)
        negatives = term.draw_negatives(index, 7)
        torch.manual_seed(number)
        result = term(batch).item()
        samples = torch.cat([index.unsqueeze(1), negatives], dim=1).numpy()
        embeddings = [
            embedded(term.embed_student.linear, batch.student_features["second"]),
            embedded(term.embed_teacher.linear, batch.teacher_features["second"]),
        ]
        student, partitions[0] = one_side(embeddings[0], memories[1], samples, partitions[0])
        teacher, partitions[1] = one_side(embeddings[1], memories[0], samples, partitions[1])
        assert result == pytest.approx(0.5 * (student + teacher), rel=1e-4)
        for memory, rows in zip(memories, embeddings, strict=True):
            moved = 0.5 * memory[index] + 0.5 * rows
            memory[index] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(term.student_memory, memories[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(term.teacher_memory, memories[1], rtol=1e-4, atol=1e-6)


def test_embeddings_are_on_the_unit_sphere_and_both_heads_are_trained():
    term = contrastive()
    batch = one_step()
    result = term.embed_student(batch.student_features["second"])
    torch.testing.assert_close(result.norm(dim=1), torch.ones(3))
    term(batch).backward()
    assert all(p.grad.abs().sum() > 0 for p in term.parameters())
    assert not term.student_memory.requires_grad
    assert not term.teacher_memory.requires_grad


def test_memories_and_constants_are_saved_and_what_the_data_tell_is_not():
    saved = contrastive().state_dict()
    buffers = {name for name in saved if not name.startswith("embed")}
    assert buffers == {"student_memory", "teacher_memory", "log_partition"}
    assert saved["student_memory"].shape == (48, 4)


def test_a_restored_term_goes_on_with_the_constants_it_had():
    term, restored = contrastive(), contrastive()
    term(one_step(0))
    constants = term.log_partition.clone()
    restored.load_state_dict(term.state_dict())
    losses = []
    for method in (term, restored):
        torch.manual_seed(1)
        losses.append(method(one_step(1)).item())
        assert torch.equal(method.log_partition, constants)
    assert losses[0] == losses[1]


def test_memories_begin_with_rows_of_length_1_on_average():
    term = contrastive(context(labels=torch.arange(2000) % 3), feature_dim=128)
    assert term.student_memory.square().sum(dim=1).mean().item() == pytest.approx(1, abs=0.01)


def test_negatives_are_of_other_classes_and_uniform_among_them():
    """Classes of unequal sizes, samples in no order; chi-squared at a fixed seed."""
    torch.manual_seed(0)
    labels = torch.tensor([2, 0, 1, 1, 0, 2, 1, 1, 0, 1])
    drawn = OtherClasses(labels, 4)(torch.tensor([0, 1, 2]), 20_000)
    assert drawn.shape == (3, 20_000)
    for label, row in zip((2, 0, 1), drawn, strict=True):
        counts = torch.bincount(row, minlength=10)[labels != label]
        assert counts.sum() == 20_000
        assert chisquare(counts).pvalue > 0.001


def test_draws_repeat_with_the_global_seed():
    draw = OtherClasses(LABELS, 3)
    result = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        result.append(draw(INDEX, 50))
    assert torch.equal(result[0], result[1])
    assert not torch.equal(result[0], result[2])


def test_samples_of_one_class_alone_are_refused():
    with pytest.raises(InputError, match="belong to one class") as caught:
        contrastive(context(labels=torch.ones(48, dtype=torch.long)))
    assert "another subset" in caught.value.hint


def test_more_negatives_than_samples_are_drawn_again():
    assert contrastive(negatives=1000)(one_step()).isfinite()


def test_vectors_are_embedded_too():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3))
    term = contrastive(context(plain, tiny(1)), student_layer="2", teacher_layer="head")
    assert (term.embed_student.linear.in_features, term.embed_teacher.linear.in_features) == (5, 3)


def test_the_loss_is_float32_under_autocast():
    term = contrastive()
    with torch.autocast("cpu", torch.bfloat16):
        result = term(one_step())
    assert result.dtype == term.student_memory.dtype == torch.float32


def test_the_record_tells_its_numbers():
    result = contrastive(negatives=16384, feature_dim=128).formula()
    assert result == "0.8·CRD(second, second) in 128 dimensions, 16384 negatives, τ = 0.07, momentum 0.5"


def test_mixed_images_and_several_processes_are_not_admitted():
    assert (Contrastive.supports_mixed_images, Contrastive.supports_multiple_processes) == (False, False)
