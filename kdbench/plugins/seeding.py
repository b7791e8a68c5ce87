"""Seeding of the global random generators of Python and numpy, for user code that uses them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded(key: int) -> Iterator[None]:
    """Seed `random` and `numpy.random` with `key` while the block runs, and restore their states afterwards.

    The caller has to seed torch's generator.
    """
    import numpy as np

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - user code uses this generator
    try:
        random.seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
