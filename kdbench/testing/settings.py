"""What a session of tests was told: its options on the command line, and those of the ini file beneath them.

Loaded by pytest in every project of the environment: it imports next to nothing.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import InputError

SESSION = "kdbench_session"  # what xdist's workers are told: the name of the session's folder
_DEFAULT_OUT = ".benchmarks/kdbench"
_MARGINAL = ("fail", "pass")
_INCONCLUSIVE = ("fail", "skip", "pass")


@dataclass(frozen=True)
class Option:
    """An option `--kdbench-NAME` and the ini option `kdbench_NAME` beneath it."""

    name: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None


OPTIONS = (
    Option("out", f"folder to keep the records and reports in (default: {_DEFAULT_OUT} in the root folder)", "DIR"),
    Option("budget", "most time for a model's latency: 5s, 1min (default: 20s)", "TIME"),
    Option("sessions", "fresh processes that it is spread over, at least (default: 8)", "N"),
    Option("threads", "thread counts that models are called with (default: 1)", "N,…"),
    Option("baseline", "what no_regression() compares with: a run's folder, or one of .onnx files", "PATH"),
    Option("marginal", "what a bound does that the interval straddles (default: fail)", choices=_MARGINAL),
    Option("inconclusive", "what a comparison does that is inconclusive (default: fail)", choices=_INCONCLUSIVE),
)


@dataclass(frozen=True)
class Settings:
    """What holds for all tests of a session.

    `judged` says whether bounds are held against measured numbers, or models only called once; `session` is the folder
    of this session's records, shared by all its processes. `measuring` are settings of a measuring pass (see
    `kdbench.recipe.Measure`) beneath those that a test names itself.
    """

    judged: bool
    root: Path
    session: Path
    marginal: str = "fail"
    inconclusive: str = "fail"
    baseline: Path | None = None
    measuring: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown_session(self) -> Path:
        """The folder of this session's records as it is shown: from the root folder, where it is in there."""
        return self.session.relative_to(self.root) if self.session.is_relative_to(self.root) else self.session

    @classmethod
    def of(cls, config: pytest.Config) -> "Settings":
        """Return the settings of a session; raises pytest.UsageError for an option that cannot be read."""
        if _KEY not in config.stash:
            try:
                config.stash[_KEY] = _read(config)
            except (InputError, ValueError) as error:
                raise pytest.UsageError(f"kdbench: {error}") from error
        return config.stash[_KEY]


_KEY = pytest.StashKey[Settings]()
_STAMP = pytest.StashKey[str]()


def add_options(parser: pytest.Parser) -> None:
    """Register `--benchmark` and the options of kdbench."""
    group = parser.getgroup("kdbench", "kdbench: bounds on measured models")
    group.addoption(
        "--benchmark",
        action="store_true",
        dest="kdbench_benchmark",
        help="run the benchmark tests only, timed: those that use the fixtures kdbench or benchmark",
    )
    for option in OPTIONS:
        shown: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
        group.addoption(f"--kdbench-{option.name}", dest=f"kdbench_{option.name}", help=option.help, **shown)
        parser.addini(f"kdbench_{option.name}", f"{option.help} (--kdbench-{option.name})", default="")


def any_given(config: pytest.Config) -> bool:
    """Whether there is an option of kdbench to be read, be it wrong."""
    return any(_given(config, option.name) for option in OPTIONS)


def benchmarking(config: pytest.Config) -> bool:
    """Whether only the benchmark tests are to be run."""
    return bool(config.getoption("kdbench_benchmark"))


def on_worker(config: pytest.Config) -> bool:
    """Whether this is one of xdist's workers, which reports to another process."""
    return hasattr(config, "workerinput")


def session_name(config: pytest.Config) -> str:
    """Return the name of the session's folder; the same in the process that was started and in xdist's workers."""
    if on_worker(config):
        return str(getattr(config, "workerinput")[SESSION])  # noqa: B009 - an attribute that only xdist's configs have
    return config.stash.setdefault(_STAMP, f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}")


def _read(config: pytest.Config) -> Settings:
    out = _path(config, "out") or config.rootpath / _DEFAULT_OUT
    # pytest-benchmark's own switches, where it is loaded: its users expect that they switch everything off and on.
    disabled = config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False)
    return Settings(
        judged=benchmarking(config) and not disabled,
        root=config.rootpath,
        session=out / session_name(config),
        marginal=_choice(config, "marginal", _MARGINAL),
        inconclusive=_choice(config, "inconclusive", _INCONCLUSIVE),
        baseline=_path(config, "baseline"),
        measuring=_measuring(config),
    )


def _measuring(config: pytest.Config) -> dict[str, Any]:
    from kdbench import units

    found: dict[str, Any] = {}
    if budget := _given(config, "budget"):
        found["budget_s"] = _read_as("budget", budget, lambda text: units.parse(text, "s"))
    if sessions := _given(config, "sessions"):
        found["sessions"] = _read_as("sessions", sessions, int)
    if threads := _given(config, "threads"):
        found["threads"] = _read_as("threads", threads, lambda text: tuple(int(part) for part in text.split(",")))
    return found


def _read_as(name: str, text: str, read: Any) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise InputError(f"--kdbench-{name} (or kdbench_{name}): {error}") from error


def _given(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"kdbench_{name}") or config.getini(f"kdbench_{name}") or "")


def _choice(config: pytest.Config, name: str, known: tuple[str, ...]) -> str:
    given = _given(config, name) or known[0]
    if given not in known:
        raise InputError(f"kdbench_{name}: {given!r} is none of {', '.join(known)}")
    return given


def _path(config: pytest.Config, name: str) -> Path | None:
    """Return a path: from where pytest was started if it was typed there, else from the root folder."""
    if typed := config.getoption(f"kdbench_{name}"):
        return config.invocation_params.dir / str(typed)
    written = str(config.getini(f"kdbench_{name}"))
    return config.rootpath / written if written else None
