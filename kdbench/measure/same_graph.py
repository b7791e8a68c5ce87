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
    """What each model, by id, has in common with those of the same graph (`groups`), and the models' `names`."""

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
        """Return in how many processes each model runs if models of the same graph share `processes`, one at least.

        They are equally often in one: 6 processes of a group of four are 2 for each model.
        """
        sizes = Counter(self.groups.values())
        return {id_: math.ceil(processes / sizes[group]) for id_, group in self.groups.items()}

    def pooled(self, results: ProcessResults, of: Mapping[Any, str]) -> ProcessResults:
        """Return for each key the results of all models of its graph; `of` names the model of a key.

        A key is a model's id, or holds a batch besides: models of one graph share what was measured at the same batch.
        """
        place = {key: (self.groups[id_], key[1:] if isinstance(key, tuple) else ()) for key, id_ in of.items()}
        together = {
            key: [
                result for other in results.results if place[other] == place[key] for result in results.results[other]
            ]
            for key in results.results
        }
        return ProcessResults(together, results.failed)

    def shared_with(self, id_: str, measured: Mapping[str, object]) -> str:
        """Return, for a source, which other models of those `measured` took part in a number; empty if none did."""
        others = [self.names[other] for other in measured if self.groups[other] == self.groups[id_] and other != id_]
        return f", shared with {', '.join(others)} of the same graph" if others else ""
