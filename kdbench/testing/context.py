"""What one test shares with its session: settings, files, passes, and the list of bounds that it held."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kdbench.results.records import Measurement, Pair
from kdbench.results.run_folder import RunFolder
from kdbench.testing.alone import Notes
from kdbench.testing.judged import PROPERTY, Judged
from kdbench.testing.passes import Depth, Files, Passes, split
from kdbench.testing.places import Places
from kdbench.testing.replay import call_times
from kdbench.testing.settings import Settings


@dataclass
class Context:
    """One test: where its files are, what is measured for it, and what became of its bounds."""

    item: pytest.Item
    settings: Settings
    places: Places
    passes: Passes
    held: list[Judged] = field(default_factory=list)
    records: list[str] = field(default_factory=list)  # the folders of the records that the bounds were held against
    seconds: list[float] = field(default_factory=list)  # of the calls of the first model whose times were asked for

    @classmethod
    def of(cls, item: pytest.Item) -> "Context":
        """Return the context of a test."""
        settings = Settings.of(item.config)
        passes = item.config.stash.setdefault(_PASSES, Passes(settings.session, Notes(item.config)))
        # A test that is run again has those of its last time, and they are gone.
        item.user_properties[:] = [each for each in item.user_properties if each[0] != PROPERTY]
        return cls(item, settings, Places(item.path.parent, settings.root), passes)

    @property
    def marginal(self) -> str:
        """What a bound does that the interval straddles."""
        return self.settings.marginal

    def files(self, names: list[str | Path], data: str | None, options: dict[str, Any]) -> Files:
        """Return model files with the options of a test, those of the session beneath them."""
        feeding, measuring = split(options)
        if root := feeding.get("data_root"):
            feeding["data_root"] = str(self.places.find(root, "folder of data sets"))
        paths = tuple(self.places.find(name, "model") for name in names)
        found = Files(paths, self.places.data(data), feeding, {**self.settings.measuring, **measuring})
        found.options(Depth.ENERGY)  # what is not possible is refused where it was written
        if paths and not self.settings.judged:
            self.passes.call_once(found)
        return found

    def saw(self, folder: Path, finding: Measurement | Pair, model: str) -> None:
        """Note whose record a number is of; the times of the first calls that were asked about are the test's."""
        if folder.name not in self.records:
            self.records.append(folder.name)
        if not self.seconds and finding.metric.startswith(("latency_", "throughput_")):
            from kdbench.results.samples import read_samples

            self.seconds = call_times(read_samples(RunFolder(folder).samples), model, finding.axes)

    def note(self, *judged: Judged) -> None:
        """Keep what became of bounds, for the summary and beside the test's report."""
        self.held += judged
        self.item.user_properties += [each.to_property() for each in judged]

    def judge(self, judged: Judged) -> None:
        """Keep what became of a bound; ends the test where it did not pass."""
        __tracebackhide__ = True
        self.note(judged)
        if not judged.passed:
            pytest.fail(judged.message, pytrace=False)


_PASSES = pytest.StashKey[Passes]()
