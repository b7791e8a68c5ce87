"""What tests of the passes share: a context of tiny models, and a pass run in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.evaluate.predictions import Analyses
from kdbench.measure.context import Context, Pass
from kdbench.measure.harness import with_missing
from kdbench.measure.staging import stage
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Unavailable
from kdbench.progress import SubProgress
from kdbench.recipe.tables.measure import Measure
from kdbench.results.findings import Findings

NO_METER = Choice(Unavailable("energy is switched off"))


@pytest.fixture
def context(tmp_path: Path, watcher) -> Callable[..., Context]:
    """Return a context of models; keywords are the configuration's."""

    def make(models, test=None, analyses=None, config=None, meters=None, **settings) -> Context:
        config = config or Measure(**settings)
        return Context(
            models=models,
            config=config,
            test=test,
            analyses=analyses or Analyses(),
            meters=meters or NO_METER,
            jobs=stage([m for m in models if m.refusal is None], test, tmp_path, 0),
            folder=tmp_path,
            progress=SubProgress(watcher, 0, 1, ""),
        )

    return make


def measured(a_pass: Pass, context: Context) -> Findings:
    """Return the findings of a pass, with what is missing for failures or refusals."""
    findings, refused = with_missing(context.models, a_pass.expected(context), a_pass.run(context))
    return findings + refused


@pytest.fixture
def run_pass(context) -> Callable[..., Findings]:
    """Run a pass on models; keywords are those of `context`."""
    return lambda a_pass, models, *rest, **settings: measured(a_pass, context(models, *rest, **settings))
