"""The deployed pass: the bytes that a model needs on a microcontroller, as a runtime for these reports them."""

from collections.abc import Iterator

from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of
from kdbench.measure.timed import UNTIMED
from kdbench.results.findings import Findings
from kdbench.results.records import measured

_METRICS = {"deployed_bytes": "file_bytes", "arena_bytes": "arena_bytes"}


@PASSES.register("deployed")
class DeployedPass(Pass):
    """The bytes of the file that such a runtime takes, and of the memory that it plans, as found at its admission."""

    order = 55

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield both for every model in each runtime of another processor."""
        for runtime in (runtime for runtime in context.config.runtime if runtime in UNTIMED):
            yield from expected_of(context.timed, list(_METRICS), {"runtime": runtime}, runtime)

    def run(self, context: Context) -> Findings:
        """Report what the runtime said."""
        return Findings(
            tuple(
                measured(
                    id_,
                    metric,
                    start.properties[name],
                    axes={"runtime": runtime},
                    source=f"{runtime}, counted by the runtime",
                )
                for (runtime, id_), start in context.starts.items()
                if runtime in UNTIMED
                for metric, name in _METRICS.items()
            )
        )
