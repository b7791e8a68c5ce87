"""Assigning a value to a key of a recipe's content before validation: overrides, and the axes of sweeps."""

from typing import Any

from kdbench.errors import InputError
from kdbench.recipe.sweeps.expanding import is_index
from kdbench.recipe.tables.variants import with_name

_LISTS = ("terms", "teacher", "student", "variant")  # a single table stands for a list of one


def assign(node: Any, path: list[str], value: Any, subject: str) -> None:
    """Assign `value` to the key `path` of parsed content, in place; `subject` is what messages call the assignment.

    An item of a list is addressed by its `name`, which a variant need not be given, or by its index from 0; `*`
    addresses all. Raises InputError for a path that leads nowhere.
    """
    head, *rest = path
    if isinstance(node, list):
        for index in _indices(node, head, subject):
            if rest:
                assign(node[index], rest, value, subject)
            else:
                node[index] = value
    elif isinstance(node, dict):
        if not rest:
            node[head] = value
            return
        if isinstance(node.get(head), str) and head == "model":
            node[head] = {"name": node[head]}
        if isinstance(node.get(head), dict) and head in _LISTS:
            node[head] = [node[head]]
        if node.get(head) is None:  # as a resolved recipe has tables that are left out
            node[head] = {}
        assign(node[head], rest, value, subject)
    else:
        raise InputError(f"{subject}: {head!r} is a key within a plain value", "see docs/recipes.md for the keys")


def _indices(items: list[Any], key: str, subject: str) -> list[int]:
    """Return the places of the items that a key addresses."""
    names = [str(with_name(item).get("name", "")) if isinstance(item, dict) else "" for item in items]
    if key == "*":
        return list(range(len(items)))
    if key in names:
        return [names.index(key)]
    if is_index(key, items):
        return [int(key)]
    if any(names):
        hint = f"items: {', '.join(filter(None, names))}, or * for all"
    elif len(items) > 1:
        hint = f"use an index from 0 to {len(items) - 1}, or * for all"
    else:
        hint = "use 0, or * for all" if items else "the list is empty"
    raise InputError(f"{subject}: no item {key!r}", hint)
