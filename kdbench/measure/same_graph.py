"""Models of one graph, such as students of one architecture: values that do not depend on weights are measured once.

Loading, starting and memory depend on the graph, the shapes and the types, not on the values of the weights. Models
that share these therefore share the processes that measure them; each file runs in at least one.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from kdbench.measure.context import Context
from kdbench.measure.runner import ProcessResults


@dataclass(frozen=True)
class GraphGroups:
    """By model id: a key that models of the same graph share (`groups`), and the models' `names`."""

    groups: Mapping[str, Hashable]
    names: Mapping[str, str]

    @classmethod
    def of(cls, context: Context) -> "GraphGroups":
        """Return which ready models share a graph; a model whose graph is not known has none."""
        groups: dict[str, Hashable] = {}
        for model in context.ready:
            job, facts = context.jobs[model.id], model.facts
            graph = facts.graph or model.id
            groups[model.id] = (graph, facts.weight_bytes, *(job.output, job.layout, job.shape, job.dtype))
        return cls(groups, {model.id: model.name for model in context.ready})

    def shares(self, processes: int) -> dict[str, int]:
        """Return in how many processes each model runs if models of the same graph share `processes`.

        All models of a graph run equally often, so the quotient is rounded up: 6 processes for four models are 2 each.
        """
        sizes = Counter(self.groups.values())
        return {id_: math.ceil(processes / sizes[group]) for id_, group in self.groups.items()}

    def pooled(self, results: ProcessResults, models: Mapping[Any, str]) -> ProcessResults:
        """Return for each key the results of all models of its graph; `models` maps keys to model ids.

        A key is a model's id, or an id and a batch: models of one graph share what was measured at the same batch.
        """
        group = {key: (self.groups[id_], key[1:] if isinstance(key, tuple) else ()) for key, id_ in models.items()}
        pooled = {
            key: [
                result for other in results.results if group[other] == group[key] for result in results.results[other]
            ]
            for key in results.results
        }
        return ProcessResults(pooled, results.failed)

    def shared_with(self, id_: str, measured: Mapping[str, object]) -> str:
        """Return, for a source, which other models of those `measured` took part in a number; empty if none did."""
        others = [self.names[other] for other in measured if self.groups[other] == self.groups[id_] and other != id_]
        return f", shared with {', '.join(others)} of the same graph" if others else ""
