"""Libraries that some modules of tests need and that take seconds to import."""

from importlib.util import find_spec

import pytest


def require(*names: str) -> None:
    """Skip the calling module where one of these libraries is not installed.

    Unlike `pytest.importorskip`, this does not import them: every parallel worker collects every module, and only one
    of them runs its tests.
    """
    for name in names:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
