import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from kdbench.cli.main import main
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, RunRecord, measured


@dataclass(frozen=True)
class Ended:
    """How an invocation of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Ended:
        code = main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Ended(code, written.out, written.err)

    return run


@pytest.fixture
def record() -> RunRecord:
    card = ModelCard(
        id="teacher",
        name="teacher",
        role="teacher",
        file="models/teacher.onnx",
        sha256="0" * 64,
        input_shape=(1, 8, 8),
        classes=10,
        parameters=1000,
    )
    return RunRecord(
        kind="run",
        name="tiny",
        created="2025-01-01T00:00:00Z",
        command="kdbench run tiny",
        environment=Environment(host={}, libraries={}),
        models=(card,),
        measurements=(measured("teacher", "top1", 0.5, n=100),),
    )
