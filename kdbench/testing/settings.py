"""The settings of a session of tests: command-line options, which override ini options.

pytest loads this module in every project of the environment, so it imports very little.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import InputError
from kdbench.files.storage import with_home
from kdbench.user_input.options import MEASURE, Option

SESSION = "kdbench_session"  # the key of the session's folder name in the configuration of xdist's workers
_DEFAULT_OUT = ".benchmarks/kdbench"
MARGINAL = ("fail", "pass")
INCONCLUSIVE = ("fail", "skip", "pass")

OPTIONS = (
    Option("out", "Folder for records and reports", "DIR", default=f"{_DEFAULT_OUT} in the root folder"),
    Option("baseline", "What no_regression() compares with: a run's folder, or a folder of .onnx files", "PATH"),
    Option("marginal", "Effect of a MARGINAL bound: fail or pass", default="fail"),
    Option("inconclusive", "Effect of an inconclusive comparison: fail, skip or pass", default="fail"),
    *MEASURE.values(),
)
"""The options `--kdbench-NAME`; each also exists as the ini option `kdbench_NAME`."""


@dataclass(frozen=True)
class Settings:
    """The settings of all tests of a session.

    `judged` is whether bounds are checked against measurements; otherwise models are only called once. `session` is the
    folder of this session's records, shared by all its processes. `measure` are fields of `kdbench.recipe.Measure`,
    which a test can override.
    """

    judged: bool
    root: Path
    session: Path
    marginal: str = "fail"
    inconclusive: str = "fail"
    baseline: Path | None = None
    measure: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown_session(self) -> Path:
        """The folder of this session's records, relative to the root folder if it is inside it."""
        return self.session.relative_to(self.root) if self.session.is_relative_to(self.root) else self.session

    @classmethod
    def of(cls, config: pytest.Config) -> "Settings":
        """Return the settings of a session; raises pytest.UsageError for an unreadable option."""
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
        help="run and time only the benchmark tests, which use the fixture kdbench or benchmark",
    )
    for option in OPTIONS:
        style: dict[str, Any] = {"metavar": option.metavar} if option.flag is None else {"action": "store_true"}
        description = option.description.replace("%", "%%")  # argparse formats it
        group.addoption(f"--kdbench-{option.name}", dest=_key(option.name), help=description, **style)
        parser.addini(_key(option.name), f"--kdbench-{option.name}: {option.description}", default="")


def any_set(config: pytest.Config) -> bool:
    """Whether any option of kdbench is set, even to a wrong value."""
    return any(_text(config, option.name) for option in OPTIONS)


def benchmarking(config: pytest.Config) -> bool:
    """Whether to run the benchmark tests only, timed."""
    return bool(config.getoption("kdbench_benchmark"))


def on_worker(config: pytest.Config) -> bool:
    """Whether this is one of xdist's workers, which reports to another process."""
    return hasattr(config, "workerinput")


def session_name(config: pytest.Config) -> str:
    """Return the name of the session's folder; the same in the main process and in xdist's workers."""
    if on_worker(config):
        return str(getattr(config, "workerinput")[SESSION])  # noqa: B009 - only xdist's configs have it
    return config.stash.setdefault(_STAMP, f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}")


def _read(config: pytest.Config) -> Settings:
    out = _path(config, "out") or config.rootpath / _DEFAULT_OUT
    # The options of pytest-benchmark, if it is loaded, apply to all benchmarks, as its users expect.
    disabled = config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False)
    return Settings(
        judged=benchmarking(config) and not disabled,
        root=config.rootpath,
        session=out / session_name(config),
        marginal=_choice(config, "marginal", MARGINAL),
        inconclusive=_choice(config, "inconclusive", INCONCLUSIVE),
        baseline=_path(config, "baseline"),
        measure=_measure(config),
    )


def _measure(config: pytest.Config) -> dict[str, Any]:
    """Return the fields of `Measure` that are set."""
    return {field: _value(config, option) for field, option in MEASURE.items() if _text(config, option.name)}


def _value(config: pytest.Config, option: Option) -> Any:
    text = _text(config, option.name)
    if option.flag is not None:
        return option.flag == (text.lower() in {"true", "yes", "on", "1"})
    return option.read(text, f"--kdbench-{option.name} (or {_key(option.name)})")


def _key(name: str) -> str:
    """Return the name of the ini option of `--kdbench-NAME`; pytest stores both under this name."""
    return f"kdbench_{name.replace('-', '_')}"


def _text(config: pytest.Config, name: str) -> str:
    return str(config.getoption(_key(name)) or config.getini(_key(name)) or "")


def _choice(config: pytest.Config, name: str, known: tuple[str, ...]) -> str:
    choice = _text(config, name) or known[0]
    if choice not in known:
        raise InputError(f"--kdbench-{name} (or {_key(name)}): {choice!r} is not one of {', '.join(known)}")
    return choice


def _path(config: pytest.Config, name: str) -> Path | None:
    """Return a path: relative to the working directory if typed, relative to the root folder if from the ini file."""
    if typed := config.getoption(f"kdbench_{name}"):
        return config.invocation_params.dir / with_home(typed)  # which shells leave in `--option=~/path`
    written = str(config.getini(f"kdbench_{name}"))
    return config.rootpath / with_home(written) if written else None
