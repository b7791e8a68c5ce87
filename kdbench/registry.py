"""Registries of named things such as models or methods: a new entry is a new file, here or in another distribution.

A registry knows the package whose modules register entries. Nothing is imported before the first look-up, so that a
command loads only the registries that it uses.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from kdbench.errors import InputError

T = TypeVar("T")


def nearest(word: str, known: list[str]) -> str | None:
    """Return the known word that `word` most likely means, or None.

    Among equally similar words the one with the nearest numbers wins: of vgg11 to vgg19, vgg12 means vgg11.
    """
    matches = difflib.get_close_matches(word, known, n=max(1, len(known)), cutoff=0.6)
    ratios = {match: difflib.SequenceMatcher(None, match, word).ratio() for match in sorted(matches)}
    return min(ratios, key=lambda match: (-ratios[match], _number_distance(match, word)), default=None)


def suggestion(word: str, known: Iterable[str], otherwise: str | None = None, *, prefix: str = "") -> str:
    """Return the hint for a word that is not `known`: the nearest known word, else `otherwise` or the full list.

    `prefix` is put before the nearest word.
    """
    listed = list(known)
    if close := nearest(word, listed):
        return f"did you mean {prefix + close!r}?"
    return f"known: {', '.join(listed)}" if otherwise is None else otherwise


def _number_distance(one: str, other: str) -> int:
    numbers = [[int(digits) for digits in re.findall(r"\d+", word)] for word in (one, other)]
    return sum(abs(a - b) for a, b in zip(*numbers, strict=False))


class Registry(Generic[T]):
    """Names of one kind of thing (`kind`: "model", "distillation method", …).

    `package` is the dotted package whose modules register entries when imported; `group` is the entry-point
    group through which other distributions add entries: each entry point is a module that registers them.
    """

    def __init__(self, kind: str, *, package: str, group: str) -> None:
        self.kind = kind
        self._package = package
        self._group = group
        self._entries: dict[str, T] = {}
        self._patterns: list[tuple[re.Pattern[str], str, T]] = []  # regex of full names, example, entry
        self._loaded = False
        self._plugins = False  # whether plug-ins are being loaded

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an entry under `name`, which must be new.

        Raises InputError if a plug-in registers an existing name.
        """

        def enter(entry: T) -> T:
            if self._plugins and name in self._entries:
                raise InputError(f"{self.kind} {name!r} exists already")
            assert name not in self._entries, f"{self.kind} {name!r} is registered twice"
            self._entries[name] = entry
            return entry

        return enter

    def register_pattern(self, regex: str, *, example: str) -> Callable[[T], T]:
        """Return a decorator that registers a family of names; `names()` lists it as `example`."""

        def enter(entry: T) -> T:
            self._patterns.append((re.compile(regex), example, entry))
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return the entry called `name`; an exact name wins over a pattern.

        Raises InputError for an unknown name, with the nearest known one.
        """
        self._load()
        if name in self._entries:
            return self._entries[name]
        for regex, _, entry in self._patterns:
            if regex.fullmatch(name):
                return entry
        raise InputError(f"unknown {self.kind} {name!r}", suggestion(name, self.names()))

    def names(self) -> list[str]:
        """Return all names, sorted; a family is listed by its example."""
        self._load()
        return sorted([*self._entries, *(example for _, example, _ in self._patterns)])

    def __iter__(self) -> Iterator[tuple[str, T]]:
        self._load()
        return iter(sorted(self._entries.items()))

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._plugins = True
        for point in entry_points(group=self._group):
            try:
                point.load()
            except Exception as error:  # a plug-in may raise anything
                self._loaded = False  # the next look-up raises the same error
                name, version = (point.dist.name, f" {point.dist.version}") if point.dist else ("its distribution", "")
                reason = error.message if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                message = f"the plug-in {point.name!r} ({point.value}) of {name}{version} cannot be loaded: {reason}"
                raise InputError(message, f"update or uninstall {name}") from error
