"""The plan of a search, shown before it starts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench import units
from kdbench.recipe.sweeps.search import Choices, Range


@dataclass(frozen=True)
class SearchOutline:
    """A search before it starts: `known` of the `trials` are in the folder; a trial takes about `trial_s` seconds.

    `at_once` trials train side by side. `prune` says whether poor ones end early, which takes less time.
    """

    goal: str
    axes: Mapping[str, Choices]
    trials: int
    known: int
    at_once: int
    prune: bool
    seeds: Sequence[int]
    trial_s: float

    @property
    def left_s(self) -> float:
        """The estimated duration of the remaining trials in seconds."""
        return self.trial_s * max(self.trials - self.known, 0)

    def lines(self) -> Iterator[str]:
        """Yield the outline as text."""
        done = f", {self.known} of them done or begun" if self.known else ""
        seeds = f", {len(self.seeds)} seeds each" if len(self.seeds) > 1 else ""
        yield f"search: {self.trials} trials{seeds}{done}; {self.at_once} at once"
        yield f"goal: {self.goal}"
        yield f"axes: {'; '.join(f'{key} {_text(choices)}' for key, choices in self.axes.items())}"
        less = ", less if trials are pruned" if self.prune else ""
        yield f"about {units.duration(self.left_s)}{less}"

    def to_json(self) -> dict[str, Any]:
        """Return the outline as JSON values."""
        axes = {
            key: choices.model_dump() if isinstance(choices, Range) else list(choices)
            for key, choices in self.axes.items()
        }
        counts = {"trials": self.trials, "known": self.known, "at_once": self.at_once, "prune": self.prune}
        return {"goal": self.goal, "axes": axes, **counts, "seeds": list(self.seeds), "left_s": round(self.left_s, 1)}


def _text(choices: Choices) -> str:
    if not isinstance(choices, Range):
        return ", ".join(map(str, choices))
    spacing = " (log)" if choices.log else f" step {choices.step:g}" if choices.step is not None else ""
    return f"{choices.low:g}..{choices.high:g}{spacing}"
