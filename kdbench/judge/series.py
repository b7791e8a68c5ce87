"""Which numbers of several records form one series: what they have in common, and how to say it.

Models of two studies may have nothing in common but a name, such as "teacher".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kdbench.results.metrics import metric as declared
from kdbench.results.records import Measurement, Pair, RunRecord

Finding = Measurement | Pair

_HOST = ("cpu", "machine", "cores_physical", "cores_logical", "cores_usable", "cpu_quota_cores", "gpu")


@dataclass(frozen=True)
class SeriesKey:
    """What the points of one series have in common.

    `study` is the records' name. `host` holds facts of the machine, where the metric depends on it; `test_set` is the
    hash of the test data, where the metric is scored.
    """

    metric: str
    model: str
    axes: tuple[tuple[str, str | int], ...]
    teacher: str | None
    host: tuple[str | float | None, ...]
    study: str
    test_set: str | None

    @classmethod
    def of(cls, record: RunRecord, finding: Finding) -> "SeriesKey":
        """Return the key of the series that a record's finding belongs to."""
        metric = declared(finding.metric)
        return cls(
            finding.metric,
            model_of(finding),
            tuple(sorted(finding.axes.items())),
            finding.teacher if isinstance(finding, Pair) else None,
            tuple(record.environment.host.get(fact) for fact in _HOST) if metric.hardware_dependent else (),
            record.name,
            record.protocol.get("test_set_sha256") if metric.scored else None,
        )

    @property
    def machine(self) -> str:
        """What distinguishes the machine, in words; empty for a metric that does not depend on it."""
        if not self.host:
            return ""
        host = dict(zip(_HOST, self.host, strict=True))
        cores = host["cores_usable"] or host["cores_logical"]
        words = [host["cpu"] or host["machine"] or "unknown machine", f"{cores} cores" if cores else None, host["gpu"]]
        return ", ".join(str(word) for word in words if word)


def model_of(finding: Finding) -> str:
    """Return the id of a finding's model; of a pair, the student's."""
    return finding.student if isinstance(finding, Pair) else finding.model


@dataclass(frozen=True)
class SeriesLabels:
    """What a series must name because its history has several: studies, or test sets of one study."""

    several_studies: bool
    several_test_sets: frozenset[str]

    @classmethod
    def of(cls, keys: Iterable[SeriesKey]) -> "SeriesLabels":
        """Count the studies and their test sets among all keys of a history."""
        test_sets: dict[str, set[str | None]] = {}
        for key in keys:
            of_study = test_sets.setdefault(key.study, set())
            if declared(key.metric).scored:
                of_study.add(key.test_set)
        return cls(len(test_sets) > 1, frozenset(study for study, hashes in test_sets.items() if len(hashes) > 1))

    def study(self, key: SeriesKey) -> str:
        """Return the study; empty where it is the only one."""
        return key.study if self.several_studies else ""

    def test_set(self, key: SeriesKey) -> str:
        """Return the hash of the test set; empty where its study has no other."""
        named = key.study in self.several_test_sets and declared(key.metric).scored
        return (key.test_set or "unknown") if named else ""
