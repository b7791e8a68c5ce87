"""From the students' inputs to a teacher's: as Pillow and numpy compute them from the stored pixels."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from kdbench.data.reading.images import fit_images
from kdbench.distill.losses.logits import dkd, ensemble_logits, softened_kl
from kdbench.distill.teaching.teacher_inputs import Normalisation, TeacherInputs, adapt, arranged, resized
from kdbench.models.feature_hooks import FeatureHooks
from kdbench.results.preprocessing import Geometry, Preprocessing

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
STUDENTS = Normalisation(MEAN, STD, 255.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 12, 10)).astype(np.uint8)


def normalised(pixels):
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
    return torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(),
        Geometry(resize=24),
        Geometry(resize=7, crop=(6, 6)),
        Geometry(resize=20, crop=(16, 16), interpolation="bicubic"),
        Geometry(mode="squash", resize=(9, 17)),
        Geometry(mode="squash", resize=(24, 20), interpolation="nearest"),
        Geometry(mode="letterbox", resize=(16, 20)),
        Geometry(crop=(7, 8)),
        Geometry(resize=24, colour="grey"),
    ],
)
def test_images_are_brought_to_a_size_as_pillow_does(geometry):
    expected = fit_images(PIXELS, geometry).astype(np.float32)
    inputs = TeacherInputs(STUDENTS, Normalisation((0.0,), (1.0,), 1.0), Preprocessing(geometry=geometry))
    pixels = inputs(normalised(PIXELS)).numpy()
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 1.01  # a level, where a half is rounded


def test_the_teachers_normalisation_and_order_replace_the_students():
    teachers = Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 255.0)
    inputs = TeacherInputs(STUDENTS, teachers, Preprocessing(channel_order="BGR"), layout="NHWC")
    reversed_ = PIXELS[:, ::-1].astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (teachers.mean, teachers.std))
    expected = np.moveaxis((reversed_ / 255 - mean) / std, 1, -1)
    np.testing.assert_allclose(inputs(normalised(PIXELS)).numpy(), expected, atol=1e-5)


def test_rows_of_a_table_are_normalised_by_column():
    students, teachers = Normalisation((1.0, 2.0), (2.0, 4.0), 1.0), Normalisation((5.0, 6.0), (10.0, 20.0), 1.0)
    rows = torch.tensor([[3.0, 10.0], [5.0, -2.0]])
    inputs = TeacherInputs(students, teachers, Preprocessing(), levels=False)
    stored = (rows - torch.tensor([1.0, 2.0])) / torch.tensor([2.0, 4.0])
    expected = (rows - torch.tensor([5.0, 6.0])) / torch.tensor([10.0, 20.0])
    torch.testing.assert_close(inputs(stored), expected)


def test_floats_are_not_rounded():
    images = torch.rand(2, 1, 6, 6)
    assert (resized(images, Geometry(resize=9), levels=False) % 1 > 0).any()


def test_classes_are_chosen_and_absent_ones_are_impossible():
    logits = torch.tensor([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]])
    chosen = arranged(logits, (2, -1, 0))
    assert chosen.tolist() == [[3.0, -torch.inf, 1.0], [4.0, -torch.inf, 6.0]]


@pytest.mark.parametrize("temperature", [1.0, 4.0, 1000.0])
def test_a_class_that_the_teacher_lacks_has_no_part_in_a_divergence(temperature):
    """At every temperature, on which a very small logit would depend: sums over the teacher's classes alone."""
    student, logits = 3 * torch.randn(2, 5, 4, dtype=torch.float64)
    columns, known = (2, -1, 0, 1), [0, 2, 3]
    teacher = arranged(logits[:, :3], columns)
    of_student = log_softmax(student.numpy() / temperature, axis=1)[:, known]
    of_teacher = log_softmax(logits[:, [2, 0, 1]].numpy() / temperature, axis=1)
    expected = (np.exp(of_teacher) * (of_teacher - of_student)).sum(axis=1).mean() * temperature**2
    student.requires_grad_()
    loss = softened_kl(student, teacher, temperature)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    shares = np.zeros((5, 4))
    shares[:, known] = np.exp(of_teacher)
    difference = torch.softmax(student.detach() / temperature, dim=1).numpy() - shares
    np.testing.assert_allclose(gradient.numpy(), temperature * difference / 5, rtol=1e-6, atol=1e-9)
    assert dkd(student, teacher, torch.tensor([0, 2, 3, 0, 2]), temperature, alpha=1, beta=8).isfinite()
    assert ensemble_logits([teacher, teacher]).softmax(dim=1)[:, 1].tolist() == [0.0] * 5


def test_an_adapted_network_keeps_the_paths_of_its_layers():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 10, 5))
    teachers = Normalisation((0.0,), (1.0,), 255.0)
    expected = network(torch.from_numpy(PIXELS.astype(np.float32) / 255))[:, [4, 0]]
    adapt(network, TeacherInputs(STUDENTS, teachers, Preprocessing()), (4, 0))
    with FeatureHooks(network, ["1"]) as hooks:
        logits = network(normalised(PIXELS))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert hooks.features["1"].shape == (4, 5)
