"""Records of real runs (`tests/records/`, abridged)."""

from pathlib import Path

import pytest

from kdbench.results.records import RunRecord

RECORDS = Path(__file__).parents[2] / "records"


@pytest.fixture(scope="module")
def records() -> dict[str, RunRecord]:
    return {
        name: RunRecord.read(RECORDS / f"{name}.json")
        for name in ("digits", "digits_methods", "mnist_dense", "mnist_noise")
    }
