"""Registries of named things such as models or methods: a new entry is a new file, here or in another distribution.

A registry holds the name of the package whose modules register entries. Nothing is imported before the first look-up,
so that a command loads only the registries that it uses.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from importlib.metadata import entry_points
from types import FrameType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from kdbench.errors import InputError

T = TypeVar("T")


def nearest(word: str, known: list[str], similarity: float = 0.6) -> str | None:
    """Return the known word that `word` most likely means, or None if none has at least that `similarity` (0 to 1).

    Among equally similar words the one with the nearest numbers is chosen: of vgg11 to vgg19, vgg12 means vgg11.
    """
    matches = difflib.get_close_matches(word, known, n=max(1, len(known)), cutoff=similarity)
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
    return sum(abs(a - b) for a, b in zip(*numbers))


_PREFIX = f"{__name__.partition('.')[0]}."  # names of this package's modules begin so


def is_shipped(entry: Any) -> bool:
    """Return whether kdbench itself defines a class or function."""
    return str(getattr(entry, "__module__", "")).startswith(_PREFIX)


class Lookup(NamedTuple):
    """A look-up of a name that kdbench does not ship: its `kind`, name and entry, and the code that registered it."""

    kind: str
    name: str
    entry: Any
    module: str | None


LOOKUPS: ContextVar[list[Lookup] | None] = ContextVar("LOOKUPS", default=None)
"""The list in which look-ups are recorded, if requested: see `kdbench.plugins.recording`."""


class Registry(Generic[T]):
    """Names of one kind of thing (`kind`: "model", "distillation method", …).

    `package` is the dotted package whose modules register entries when imported; `group` is the entry-point group
    through which other distributions add entries: each entry point is a module that registers them. `imported` returns
    the entry for a name that is an import path, `module:name`, where such names are allowed.
    """

    _all: ClassVar[weakref.WeakSet[Registry[Any]]] = weakref.WeakSet()

    def __init__(self, kind: str, *, package: str, group: str, imported: Callable[[str], T] | None = None) -> None:
        self.kind = kind
        self._package = package
        self._group = group
        self._imported = imported
        self._entries: dict[str, T] = {}
        self._origins: dict[str, _Origin] = {}  # of names and of the regexes of patterns
        self._patterns: list[tuple[re.Pattern[str], str, T]] = []  # regex of full names, example, entry
        self._loaded = False
        Registry._all.add(self)

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an entry under `name`.

        What has the same module and name as the existing entry replaces it, as when a notebook's cell runs again.
        Raises InputError if the name belongs to something else.
        """

        def enter(entry: T) -> T:
            origin, existing = _origin(entry, inspect.currentframe()), self._origins.get(name)
            if existing is not None and existing[:2] != origin[:2]:
                message = f"{self.kind} {name!r} exists already, from {existing}; {origin} registers another"
                raise InputError(message, "register it under another name")
            self._entries[name], self._origins[name] = entry, origin
            return entry

        return enter

    def register_pattern(self, regex: str, *, example: str) -> Callable[[T], T]:
        """Return a decorator that registers a family of names; `names()` lists it as `example`."""

        def enter(entry: T) -> T:
            self._patterns = [pattern for pattern in self._patterns if pattern[0].pattern != regex]
            self._patterns.append((re.compile(regex), example, entry))
            self._origins[regex] = _origin(entry, inspect.currentframe())
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return the entry called `name`; an exact name wins over a pattern, and a pattern over an import path.

        Raises InputError for an unknown name, with the nearest known one, and for an import path that leads nowhere.
        """
        entry, origin = self._find(name)
        uses, module = LOOKUPS.get(), name.partition(":")[0] if origin is None else origin.module
        if uses is not None and not f"{module}.".startswith(_PREFIX):
            uses.append(Lookup(self.kind, name, entry, module))
        return entry

    def _find(self, name: str) -> tuple[T, _Origin | None]:
        self._load()
        if name in self._entries:
            return self._entries[name], self._origins.get(name)
        for regex, _, entry in self._patterns:
            if regex.fullmatch(name):
                return entry, self._origins[regex.pattern]
        if ":" in name and self._imported is not None:
            return self._imported(name), None
        raise InputError(f"unknown {self.kind} {name!r}", suggestion(name, self.names()))

    @classmethod
    def forget(cls, module: str) -> None:
        """Remove what `module` registered anywhere, before it is imported again."""
        for registry in cls._all:
            registry._remove(module)  # noqa: SLF001 - one of its own

    def _remove(self, module: str) -> None:
        removed = {name for name, origin in self._origins.items() if origin.module == module}
        for name in removed:
            self._origins.pop(name)
            self._entries.pop(name, None)
        self._patterns = [pattern for pattern in self._patterns if pattern[0].pattern not in removed]

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
        self._loaded = True  # modules look names up while they are imported
        try:
            self._import_all()
        except BaseException:  # Ctrl-C, too
            self._loaded = False  # the next look-up imports again, or raises the same error
            raise

    def _import_all(self) -> None:
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for point in _entry_points(self._group):
            try:
                point.load()
            except Exception as error:  # a plug-in may raise anything
                name, version = (point.dist.name, f" {point.dist.version}") if point.dist else ("its distribution", "")
                reason = error.message if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                message = f"the plug-in {point.name!r} ({point.value}) of {name}{version} cannot be loaded: {reason}"
                raise InputError(message, f"update or uninstall {name}") from error


def _entry_points(group: str) -> Iterable[Any]:
    return entry_points(group=group) if sys.version_info >= (3, 10) else entry_points().get(group, ())


class _Origin(NamedTuple):
    """Where an entry was registered: the module, what the entry is called there, and the file if there is one."""

    module: str
    name: str
    file: str | None

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" + (f" ({self.file})" if self.file else "")


def _origin(entry: Any, frame: FrameType | None) -> _Origin:
    """Return the origin of an entry; `frame` is of a function that the registering module called."""
    namespace: dict[str, Any] = frame.f_back.f_globals if frame is not None and frame.f_back is not None else {}
    name = getattr(entry, "__qualname__", None) or re.sub(r" at 0x\w+", "", repr(entry))
    return _Origin(str(namespace.get("__name__", "")), name, namespace.get("__file__"))
