"""The deployed pass: the files that runtimes take instead of the .onnx file, and the memory of a microcontroller."""

from collections.abc import Iterator
from pathlib import Path

from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of
from kdbench.measure.timed import UNTIMED
from kdbench.results.findings import Findings
from kdbench.results.records import Measurement, measured
from kdbench.results.runtimes import RUNTIMES

_FILE, _ARENA = "deployed_bytes", "arena_bytes"


@PASSES.register("deployed")
class DeployedPass(Pass):
    """The bytes of a model's converted file, and of the memory that a runtime for microcontrollers plans for it."""

    order = 55

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield them for every model in each runtime that takes a converted file."""
        for runtime in context.config.runtime:
            yield from expected_of(context.timed, _metrics(runtime), {"runtime": runtime}, runtime)

    def run(self, context: Context) -> Findings:
        """Report the sizes of the files, and the memory that the runtimes reported at their admission."""
        return Findings(
            tuple(
                _measured(context, runtime, id_, metric)
                for runtime, id_ in context.starts
                for metric in _metrics(runtime)
            )
        )


def _metrics(runtime: str) -> tuple[str, ...]:
    if not RUNTIMES[runtime].form:
        return ()
    return (_FILE, _ARENA) if runtime in UNTIMED else (_FILE,)


def _measured(context: Context, runtime: str, id_: str, metric: str) -> Measurement:
    axes = {"runtime": runtime}
    if metric == _ARENA:
        value = context.starts[runtime, id_].properties[metric]
        return measured(id_, metric, value, axes=axes, source=f"{runtime}, counted by the runtime")
    form = RUNTIMES[runtime].form
    size = Path(context.jobs[id_].files[form]).stat().st_size
    return measured(id_, metric, size, axes=axes, source=f"size of the {form} file")
