"""Which numbers of several records belong to one series: what they have in common, and how to say it.

Models of two studies may have nothing in common but a name, such as "teacher".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kdbench.results.metrics import metric as declared
from kdbench.results.records import Measurement, Pair, RunRecord

Finding = Measurement | Pair

_HOST = ("cpu", "machine", "cores_physical", "cores_logical", "cores_usable", "cpu_quota_cores", "gpu")


@dataclass(frozen=True)
class Key:
    """What the points of one series have in common.

    `study` is the records' name. `host` are the facts of the machine, where the metric is the machine's; `test_set` is
    the hash of the test data, where it is scored on that.
    """

    metric: str
    model: str
    axes: tuple[tuple[str, str | int], ...]
    teacher: str | None
    host: tuple[str | float | None, ...]
    study: str
    test_set: str | None


def key_of(record: RunRecord, finding: Finding) -> Key:
    """Return the key of the series that a record's finding belongs to."""
    metric = declared(finding.metric)
    return Key(
        finding.metric,
        model_of(finding),
        tuple(sorted(finding.axes.items())),
        finding.teacher if isinstance(finding, Pair) else None,
        tuple(record.environment.host.get(fact) for fact in _HOST) if metric.hardware_dependent else (),
        record.name,
        record.protocol.get("test_set_sha256") if metric.scored else None,
    )


def model_of(finding: Finding) -> str:
    """Return the id of the model that a finding is about; of a pair, the student's."""
    return finding.student if isinstance(finding, Pair) else finding.model


@dataclass(frozen=True)
class Several:
    """Of what a history has several, so that each series must say which is its own: studies, a study's test sets."""

    studies: bool
    test_sets: frozenset[str]

    @classmethod
    def of(cls, keys: Iterable[Key]) -> "Several":
        """Count the studies and their test sets among all keys of a history."""
        sets: dict[str, set[str | None]] = {}
        for key in keys:
            of_study = sets.setdefault(key.study, set())
            if declared(key.metric).scored:
                of_study.add(key.test_set)
        return cls(len(sets) > 1, frozenset(study for study, known in sets.items() if len(known) > 1))

    def study(self, key: Key) -> str:
        """Return the study to name; nothing where it is the only one."""
        return key.study if self.studies else ""

    def test_set(self, key: Key) -> str:
        """Return the hash of the test set to name; nothing where its study has no other."""
        return (key.test_set or "unknown") if key.study in self.test_sets and declared(key.metric).scored else ""


def machine_in_words(key: Key) -> str:
    """Return what tells machines apart, in words; nothing for a metric that is no machine's."""
    if not key.host:
        return ""
    host = dict(zip(_HOST, key.host, strict=True))
    cores = host["cores_usable"] or host["cores_logical"]
    words = [host["cpu"] or host["machine"] or "unknown machine", f"{cores} cores" if cores else None, host["gpu"]]
    return ", ".join(str(word) for word in words if word)
