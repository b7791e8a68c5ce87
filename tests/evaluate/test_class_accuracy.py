import numpy as np
from sklearn.metrics import recall_score

from kdbench.evaluate.class_accuracy import right_by_class


def test_against_scikit_learns_recall():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 300), rng.integers(0, 7, 300)
    found = right_by_class(labels == predicted, labels)
    recall = recall_score(labels, predicted, average=None)
    assert [hits / total for hits, total in found.values()] == recall.tolist()
    assert sum(total for _, total in found.values()) == 300


def test_a_class_without_samples_is_left_out():
    labels = np.array([0, 0, 4])
    assert right_by_class(np.array([True, False, False]), labels) == {0: (1, 2), 4: (0, 1)}
