"""The Pareto front: the models on it, the dominated models, and each model compared with its reference."""

from collections.abc import Sequence
from functools import partial

from kdbench.report.cells import Cell, Text
from kdbench.report.model_groups import ModelGroup, model_groups, teacher_of
from kdbench.report.scores import score_of
from kdbench.report.table import Column, Field, Table, model_table, text_field
from kdbench.report.tables.planes import Plane, planes
from kdbench.report.tables.trade_offs import trade_off
from kdbench.results.records import Axes, RunRecord

ON_FRONT = Text("on the front")
_IN_FULL = 12  # models with a reference that all get a sentence; of more, those on a front
_NOTE = (
    "Dominated: by the values, another model costs no more and scores no worse. Not settled: the intervals do not show "
    "that the two models differ in the named quantity, and another run may reverse their order. If two models were "
    "compared side by side, the interval of that comparison is used."
)
_ONE_NETWORK = (
    "Models whose networks differ only in the weights count as equally fast: they share the mean of their {costs}."
)


def front(record: RunRecord) -> Table:
    """Return each model's reference and its position in each plane; a table without rows if there is no plane."""
    known = planes(record)
    noun = score_of(record).noun.capitalize()
    fields = [
        text_field("Reference", lambda group: teacher_of(record, group) or "", code=True),
        *(Field(Column(f"{noun} against {name}", numeric=False), partial(_cell, known[name])) for name in known),
    ]
    groups = model_groups(record) if known else []
    notes = [_NOTE] if any(plane.dominated for plane in known.values()) else []
    networks = [network for group in groups if (network := group.network) is not None]
    if "latency" in known and len(set(networks)) < len(networks):
        notes.append(_ONE_NETWORK.format(costs="times and of their energies" if "energy" in known else "times"))
    return model_table("Front", groups, fields, [*_sentences(record, groups), *notes])


def _cell(plane: Plane, group: ModelGroup, _: Axes) -> Cell:
    if group.label in plane.front:
        return ON_FRONT
    if group.label in plane.absent:
        return plane.absent[group.label]
    dominated = plane.dominated[group.label]
    unsettled = f" ({' and '.join(dominated.unsettled)} not settled)" if dominated.unsettled else ""
    return Text(f"dominated by `{dominated.by}`{unsettled}")


def _sentences(record: RunRecord, groups: Sequence[ModelGroup]) -> list[str]:
    """Return each model and its reference in words; of many, those of models on a front."""
    compared = [group for group in groups if teacher_of(record, group) is not None]
    chosen = [group for group in compared if len(compared) <= _IN_FULL or _on_a_front(record, group)]
    left = len(compared) - len(chosen)
    more = f"{left} more {'model is' if left == 1 else 'models are'} on no front." if left else ""
    return [*(trade_off(record, group) for group in chosen), more]


def _on_a_front(record: RunRecord, group: ModelGroup) -> bool:
    return any(group.label in plane.front for plane in planes(record).values())
