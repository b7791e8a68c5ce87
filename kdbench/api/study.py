"""Studies: a recipe that can be changed, trained and run from Python."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kdbench import extras
from kdbench.api.finishing import checked_trackers, final_results
from kdbench.api.progress import progress_display
from kdbench.api.results import Results
from kdbench.judge.target import Target
from kdbench.machine.openmp import configure_openmp
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.recipe.extras import extras_of
from kdbench.recipe.loading import overridden, read_content, recipe_from, recipe_of
from kdbench.user_input.arguments import checked


@dataclass(frozen=True, repr=False)
class Study:
    """A study: teachers, students, data and training as a value. `recipe` is its validated form.

        >>> study = kdbench.Study.from_toml("study.toml").override({"training.epochs": 1})
        >>> study.recipe.training.epochs
        1

    `content` is the recipe as written, without defaults.
    """

    content: Mapping[str, Any]
    recipe: Recipe

    @classmethod
    @checked
    def from_toml(cls, name_or_path: str | Path) -> Self:
        """Return the study in a TOML file, or the shipped recipe of that name; paths in a file are relative to it.

            >>> kdbench.Study.from_toml("digits").recipe.name
            'digits'

        Raises InputError, which names the key and the nearest known one.
        """
        content = read_content(name_or_path)
        return cls(content, recipe_from(content, os.fspath(name_or_path)))

    @classmethod
    @checked
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the study in a dictionary with the content of a TOML file; raises InputError.

        >>> table = kdbench.Study.from_toml("digits").content
        >>> kdbench.Study.from_dict({**table, "name": "mine"}).recipe.name
        'mine'
        """
        return cls(content, recipe_from(content))

    @checked
    def override(self, values: Mapping[str, Any]) -> Self:
        """Return the study with other values; keys are those of `--set`, such as "student.*.training.epochs".

            >>> kdbench.Study.from_toml("digits").override({"data.name": "mnist"}).recipe.data.name
            'mnist'

        Raises InputError for a key or a value that a recipe does not have.
        """
        content = overridden(self.content, values)
        return type(self)(content, recipe_from(content))

    def __repr__(self) -> str:
        models = [*self.recipe.teacher, *self.recipe.student]
        return f"<kdbench.Study {self.recipe.name!r} of {', '.join(model.name for model in models)}>"

    @checked
    def run(
        self,
        out: str | Path | None = None,
        *,
        resume: bool = False,
        targets: Sequence[Target | str | Path] = (),
        log: str | Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Results:
        """Train, export, measure, judge and report; return the results. It needs the extra `train`.

            >>> kdbench.Study.from_toml("study.toml").run(out="runs/x", resume=True).models
            ('teacher', 'student')

        The arguments are those of `kdbench.run`. Raises KdbenchError for errors that a user can fix; finished stages
        stay in the folder.
        """
        return run(self, out, resume=resume, targets=targets, log=log, progress=progress)

    @checked
    def train(self, out: str | Path | None = None, *, resume: bool = False, progress: Progress | None = None) -> Path:
        """Train the networks without measuring them, and return the folder; `run` with `resume` continues from it.

            >>> folder = kdbench.Study.from_toml("study.toml").train(out="runs/x", resume=True)
            >>> (folder / "checkpoints").is_dir()
            True

        Raises KdbenchError for errors that a user can fix; finished trainings stay in the folder.
        """
        return train(self, out, resume=resume, progress=progress)


Recipes = Study | Recipe | Mapping[str, Any] | str | Path
"""A study, a recipe, a dictionary, a shipped recipe's name, or the path of a TOML file."""


@checked
def run(
    recipe: Recipes = "digits",
    out: str | Path | None = None,
    *,
    resume: bool = False,
    targets: Sequence[Target | str | Path] = (),
    log: str | Sequence[str] = (),
    progress: Progress | None = None,
    command: str = "",
) -> Results:
    """Train, export, measure, judge and report a study; return the results. It needs the extra `train`.

        >>> kdbench.run("study.toml", "runs/x", resume=True).record.kind
        'run'

    `recipe` is the name of a shipped recipe, a .toml file, a dictionary or a `Study`. Results go to the folder `out`,
    by default a new one below runs/; `resume` continues the run in it. `targets` (names or paths) are judged at the
    end. `log` names experiment trackers that get the results: mlflow, tensorboard or wandb, each with its extra; a
    recipe's `track` logs the trainings, too. Reports show `command` as the command that re-creates the run. Raises
    KdbenchError for errors that a user can fix.
    """
    loaded = _loaded(recipe, "kdbench.run")
    loggers = checked_trackers(log, loaded.track)
    from kdbench.workflows.run import run_recipe

    with progress_display(progress) as display:
        results = run_recipe(loaded, out, resume=resume, targets=targets, progress=display, command=command)
        return final_results(results, loggers, display)


@checked
def train(
    recipe: Recipes, out: str | Path | None = None, *, resume: bool = False, progress: Progress | None = None
) -> Path:
    """Train a study's networks without measuring them, and return the folder; `run` with `resume` continues from it.

        >>> kdbench.train("study.toml", "runs/x", resume=True).name
        'x'

    If torchrun or srun started several processes, all of them call this function; only rank zero reports and writes. It
    needs the extra `train`. Rank zero raises KdbenchError for errors that a user can fix; the others then exit.
    """
    loaded = _loaded(recipe, "kdbench.train", measures=False)
    from kdbench.workflows.train import train as train_recipe

    with progress_display(progress) as display:
        return train_recipe(loaded, out, resume=resume, progress=display)


def _loaded(recipe: Recipes, subject: str, *, measures: bool = True) -> Recipe:
    """Return a validated recipe, with everything ready for torch; raises InputError, MissingExtraError."""
    loaded = recipe.recipe if isinstance(recipe, Study) else recipe_of(recipe)
    extras.require_all(extras_of(loaded, measures=measures), subject)
    configure_openmp()  # before torch is loaded, which then reads how its threads are to wait
    return loaded
