import numpy as np

from kdbench.evaluate.label_noise import noise_outcomes


def test_each_flipped_image_is_one_of_three():
    true = np.array([0, 1, 2, 3, 0])
    given = np.array([1, 2, 3, 3, 1])  # the fourth was left alone
    predicted = np.array([0, 2, 0, 3, 0])
    outcomes = noise_outcomes(predicted, given, true)
    assert outcomes == (2, 1, 1)
    assert outcomes.n == 4


def test_images_that_were_left_alone_do_not_count():
    labels = np.arange(4)
    assert noise_outcomes(labels, labels, labels).n == 0
