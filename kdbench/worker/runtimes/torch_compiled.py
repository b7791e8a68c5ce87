"""The network that a file was exported from, compiled by `torch.compile` in its default mode, one graph a shape.

The first call of a shape compiles: that is warm-up. A network that cannot be compiled as one graph is an error, and so
is a shape too many: neither runs silently without compilation.
"""

import torch

from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import Runtime
from kdbench.worker.runtimes.torch import FAULTS as EAGER_FAULTS
from kdbench.worker.runtimes.torch import LoadedModel, facts

# Every network of a class and every batch is an entry of one table; eight, the default, is a few models at two batches.
_MAX_GRAPHS = 256

# The one exception of the compiler's that is no RuntimeError.
FAULTS = (*EAGER_FAULTS, torch._dynamo.exc.FailOnRecompileLimitHit)  # noqa: SLF001 - its documented place


class CompiledModel(LoadedModel):
    """A `torch` target whose network is compiled."""

    def __init__(self, model: JobModel, *, provider: str, threads: int, spinning: bool = True) -> None:
        super().__init__(model, provider=provider, threads=threads, spinning=spinning)
        torch._dynamo.config.recompile_limit = _MAX_GRAPHS  # noqa: SLF001 - its documented place
        self._network = torch.compile(self._network, dynamic=False, fullgraph=True)


RUNTIME = Runtime(
    load=CompiledModel,
    faults=FAULTS,
    facts=lambda provider: facts(provider) | {"compile": "torch.compile, default mode, static shapes, one graph"},
)
