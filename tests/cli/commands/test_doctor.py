from types import SimpleNamespace

import pytest

from kdbench.cli.commands import doctor as checks
from kdbench.cli.commands.doctor import Finding
from kdbench.errors import DataMissingError
from kdbench.results.records import Environment

HERE = Environment(
    host={"cpu": "CPU", "machine": "x", "cores_usable": 2, "cores_logical": 4, "memory_bytes": 8e9, "os": "OS"},
    libraries={"kdbench": "1"},
)


@pytest.fixture
def findings(monkeypatch):
    """Let the doctor find what a test says."""

    def set_(*findings: Finding) -> None:
        monkeypatch.setattr(checks, "CHECKS", (lambda _: iter(findings),))

    return set_


def test_every_line_says_how_it_stands_and_what_would_mend_it(run_cli, findings):
    findings(Finding("python", "ok", "3.12"), Finding("energy", "missing", "no counter", "run as root"))
    ended = run_cli("doctor")
    assert ended.code == 0
    assert ended.out == "ok       python: 3.12\nmissing  energy: no counter\n           → run as root\n"


def test_json(run_cli, findings):
    findings(Finding("python", "ok", "3.12"))
    assert run_cli("doctor", "--json").json == {
        "findings": [{"subject": "python", "state": "ok", "detail": "3.12", "remedy": ""}]
    }


def test_a_check_that_fails_is_a_finding_and_the_others_are_heard(run_cli, monkeypatch):
    def _broken(_: Environment):
        raise ZeroDivisionError("by zero")
        yield

    monkeypatch.setattr(checks, "CHECKS", (_broken, lambda _: iter([Finding("after", "ok", "heard")])))
    findings = run_cli("doctor", "--json").json["findings"]
    assert [line["subject"] for line in findings] == ["broken", "after"]
    assert "ZeroDivisionError: by zero" in findings[0]["detail"]
    assert findings[0]["state"] == "warn"


def test_this_machine_is_examined_whole(run_cli):
    findings = {line["subject"]: line for line in run_cli("doctor", "--json").json["findings"]}
    assert {
        "host",
        "python",
        "libraries",
        "providers",
        "threads",
        "latency",
        "gpu",
        "energy: rapl",
        "energy: nvml",
        "energy: codecarbon",
        "energy with cpu",
        "energy with cuda",
        "data: digits",
        "data: mnist",
    } <= findings.keys()
    assert findings["data: digits"]["state"] == "ok"
    assert findings["data: mnist"]["state"] == "missing"  # the tests' environment names no data folder
    assert "KDBENCH_DATA" in findings["data: mnist"]["remedy"]
    assert all(line["remedy"] for line in findings.values() if line["state"] != "ok")
    assert not any("this check failed" in line["detail"] for line in findings.values())


def test_what_affects_latencies_is_reported(monkeypatch):
    reading = SimpleNamespace(busy_s={0: 1.0}, stolen_s={})
    seen = [
        SimpleNamespace(title="thermal counters", read=lambda: 0.0),
        SimpleNamespace(title="clock", read=lambda: None),
    ]
    monkeypatch.setattr("kdbench.machine.system_monitor.SystemMonitor", lambda: SimpleNamespace(read=lambda: reading))
    monkeypatch.setattr("kdbench.machine.throttling.gauges", lambda *_: seen)
    here = HERE.model_copy(update={"host": {**HERE.host, "governor": "performance", "turbo": "on", "smt": None}})
    latency, disturbances = checks._latency(here)
    assert latency.detail.startswith("governor performance, turbo on, SMT unknown, clock step ")
    assert disturbances.detail == "detected here: others' load, thermal counters; not detected: stolen time, clock"


@pytest.mark.parametrize(
    ("parts", "state", "detail"),
    [
        ({"train": 60, "test": 10}, "ok", "train 60, test 10"),
        ({"test": 10}, "warn", "test 10"),
        ({}, "missing", "not found"),
    ],
)
def test_a_data_set_is_there_when_it_can_be_read(monkeypatch, parts, state, detail):
    there = parts

    def load(_name: str, *, parts: tuple[str]) -> SimpleNamespace:
        (part,) = parts
        if part not in there:
            raise DataMissingError("not there", "download it")
        return SimpleNamespace(**{part: range(there[part])})

    monkeypatch.setattr("kdbench.data.load", load)
    (finding,) = (finding for finding in checks._data(HERE) if finding.subject == "data: cifar10")
    assert (finding.state, finding.remedy) == (state, "" if state == "ok" else "download it")
    assert finding.detail == detail


def test_a_library_that_is_declared_but_not_installed_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=2", "no-such-thing[x]>=1", "y; extra == 'd'"])
    states = {finding.subject: finding.state for finding in checks._libraries(HERE)}
    assert states == {"libraries": "ok", "no-such-thing": "missing"}
