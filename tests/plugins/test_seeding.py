import random

import numpy as np

from kdbench.plugins.seeding import seeded


def drawn():
    return random.random(), np.random.rand()  # noqa: NPY002 - as user code does


def test_numbers_depend_on_the_key_and_leave_no_trace():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = drawn()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    results = []
    for key in (7, 7, 2**40 + 7):
        with seeded(key):
            results.append(drawn())
    assert results[0] == results[1] != results[2]
    assert drawn() == expected
