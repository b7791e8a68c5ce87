"""The plan of a sweep: its trainings, and which models are measured together.

Models with the same values on the axes form a part. With the first seed they are timed, in the same sessions as their
teachers and a reference model. All timed parts contain the reference, which makes their times comparable. With the
other seeds models are only scored, because seeds do not affect times.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from kdbench.recipe import Recipe, Student, Teacher, Variant
from kdbench.recipe.study import needed_by
from kdbench.recipe.sweeps.points import Point
from kdbench.workflows.study.analyses import LabelOnlyStudents, baselines_of
from kdbench.workflows.study.plan import Job


@dataclass(frozen=True)
class Compressed:
    """A variant of one seed: its id, the name of its entry, and the id of the model that it is made from."""

    id: str
    name: str
    source: str


@dataclass(frozen=True)
class Part:
    """Models that are measured together: `jobs`, by their ids, and `variants`; this part provides their numbers.

    `companions` are jobs that they are compared with, `sources` variants that others are made from; the numbers of both
    come from other parts. `timed` are the ids of the models to time; none if the part is only scored. `names` are the
    entries of the recipe that all of them need.
    """

    id: str
    jobs: tuple[str, ...]
    variants: tuple[Compressed, ...]
    companions: tuple[str, ...]
    sources: tuple[Compressed, ...]
    timed: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models whose numbers this part provides."""
        return (*self.jobs, *(variant.id for variant in self.variants))

    def without(self, lost: Collection[str]) -> "Part":
        """Return the part without the jobs `lost`, which could not be trained, and their variants."""
        gone = {*lost}
        for variant in (*self.sources, *self.variants):
            if variant.source in gone:
                gone.add(variant.id)
        jobs, companions, timed = (
            tuple(id_ for id_ in ids if id_ not in gone) for ids in (self.jobs, self.companions, self.timed)
        )
        sources, variants = (tuple(v for v in group if v.id not in gone) for group in (self.sources, self.variants))
        return replace(self, jobs=jobs, companions=companions, timed=timed, sources=sources, variants=variants)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """The ids of all models in it: jobs in the plan's order, then variants."""
        return (*self.companions, *self.jobs, *(variant.id for variant in (*self.sources, *self.variants)))


@dataclass(frozen=True)
class SweepPlan:
    """The trainings `jobs` of a recipe, in order, and its `points`; all timed parts share the model `reference`."""

    recipe: Recipe
    jobs: Sequence[Job]
    points: Sequence[Point]
    reference: str

    @cached_property
    def by_id(self) -> Mapping[str, Job]:
        """The jobs by their ids."""
        return {job.id: job for job in self.jobs}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The models to measure together, in the plan's order: timed parts, then those that are only scored."""
        return tuple(self._part(group) for group in self._groups())

    @cached_property
    def part_of(self) -> Mapping[str, str]:
        """The part that provides the numbers of each model, by the model's id."""
        return {id_: part.id for part in self.parts for id_ in part.models}

    @cached_property
    def models_of_point(self) -> Sequence[tuple[str, ...]]:
        """The ids of the models of each point, all seeds."""
        by_name: dict[str, list[str]] = {}
        for job in _measured(self.jobs):
            by_name.setdefault(job.entry.name, []).append(job.id)
        for _, variant in self._variants:
            by_name.setdefault(variant.name, []).append(variant.id)
        return [tuple(id_ for name in point.models for id_ in by_name.get(name, ())) for point in self.points]

    @cached_property
    def variant_of(self) -> Mapping[str, Variant]:
        """The entry of each variant, by the variant's id."""
        return {compressed.id: variant for variant, compressed in self._variants}

    @cached_property
    def variants_of(self) -> Mapping[str, tuple[str, ...]]:
        """The variants of each teacher and student, variants of variants included, by names."""
        by_source: dict[str, list[str]] = {}
        source: dict[str, str] = {}
        for variant in self.recipe.variants():
            source[variant.name] = source.get(variant.of, variant.of)
            by_source.setdefault(source[variant.name], []).append(variant.name)
        return {name: tuple(names) for name, names in by_source.items()}

    def needs(self, job: Job) -> tuple[str, ...]:
        """Return the ids of the jobs that have to be trained before `job`."""
        before = (*(job.teachers if job.learns else ()), *job.parts, *((job.start,) if job.start is not None else ()))
        return tuple(dict.fromkeys(other.id for other in before))

    def sub_recipe(self, names: Iterable[str]) -> Recipe:
        """Return the recipe with only the entries `names`, those that they need, and its first teacher.

        Of the reported numbers it has the differences between these entries: their models are measured side by side.
        """
        wanted = {self.recipe.teacher[0].name}
        for name in names:
            wanted |= self._closure(name)
        kept = sorted(self._place[name] for name in wanted)
        update = {
            "teacher": tuple(self.recipe.teacher[place] for role, place in kept if role == 0),
            "student": tuple(self.recipe.student[place] for role, place in kept if role == 1),
            "variant": tuple(self.recipe.variant[place] for role, place in kept if role == 2),
            "reported": tuple(
                number for number in self.recipe.reported if number.minus in wanted and number.model in wanted
            ),
        }
        return self.recipe.model_copy(update=update)

    @cached_property
    def _place(self) -> Mapping[str, tuple[int, int]]:
        recipe = self.recipe
        roles: Sequence[Iterable[Teacher | Student | Variant]] = (recipe.teacher, recipe.student, recipe.variant)
        return {entry.name: (role, place) for role, entries in enumerate(roles) for place, entry in enumerate(entries)}

    @cached_property
    def _closures(self) -> dict[str, frozenset[str]]:
        return {}

    def _closure(self, name: str) -> frozenset[str]:
        """Return an entry's name and the names of all entries that it needs."""
        if name not in self._closures:
            role, place = self._place[name]
            others: set[str] = set()
            if role == 2:
                others.add(self.recipe.variant[place].of)
            elif role == 1:
                student = self.recipe.student[place]
                others |= {*needed_by(student), *(teacher.name for teacher in self.recipe.teachers_of(student))}
            self._closures[name] = frozenset({name}).union(*(self._closure(other) for other in others))
        return self._closures[name]

    @cached_property
    def _variants(self) -> Sequence[tuple[Variant, Compressed]]:
        """The variants of all seeds, each after the one it comes from."""
        suffixes: dict[str, list[str]] = {}
        for job in self.jobs:
            if job.part is None:
                suffixes.setdefault(job.entry.name, []).append(job.id.removeprefix(job.entry.name))
        parts = []
        for variant in self.recipe.variants():
            suffixes[variant.name] = suffixes[variant.of]
            parts += [
                (variant, Compressed(f"{variant.name}{suffix}", variant.name, f"{variant.of}{suffix}"))
                for suffix in suffixes[variant.of]
            ]
        return parts

    @cached_property
    def _compressed(self) -> Mapping[str, Compressed]:
        return {compressed.id: compressed for _, compressed in self._variants}

    @cached_property
    def _network_of(self) -> Mapping[str, Job]:
        """The job that each measured model comes from, by the model's id."""
        network_of = {job.id: job for job in _measured(self.jobs)}
        for _, variant in self._variants:
            network_of[variant.id] = network_of[variant.source]
        return network_of

    @cached_property
    def _order(self) -> Mapping[str, int]:
        return {job.id: place for place, job in enumerate(self.jobs)}

    @cached_property
    def _scored_beside(self) -> Mapping[str, frozenset[str]]:
        """The ids of the jobs that each job's predictions are compared with, besides its teacher, by its id."""
        independents = LabelOnlyStudents(self.jobs)
        baselines = baselines_of(self.recipe, self.jobs, independents)
        others = {job.id: (independents.of(job), *baselines.get(job.id, ())) for job in _measured(self.jobs)}
        return {
            id_: frozenset(job.id for job in compared if job is not None and job.logits is None)
            for id_, compared in others.items()
        }

    def _groups(self) -> list["_Group"]:
        """Return the measured models by their seed and their values on the axes, those of the first seed first."""
        groups: dict[_Key, _Group] = {}
        for job in _measured(self.jobs):
            key = self._key(job, job.entry.axes)
            groups.setdefault(key, _Group(key)).jobs.append(job)
        for entry, variant in self._variants:
            job = self._network_of[variant.id]
            key = self._key(job, {**job.entry.axes, **entry.axes})
            groups.setdefault(key, _Group(key)).variants.append(variant)
        return sorted(groups.values(), key=lambda group: (group.key.is_other_seed, group.key.seed))

    def _key(self, job: Job, axes: Mapping[str, object]) -> "_Key":
        values = tuple(sorted((axis, str(value)) for axis, value in axes.items()))
        return _Key(job.of_seed != self.recipe.seeds[0], job.of_seed, values)

    def _part(self, group: "_Group") -> Part:
        """Return a group's models with what they are compared with and made from."""
        own = tuple(job.id for job in group.jobs)
        sources = _source_variants(group.variants, self._compressed)
        is_timed = self.recipe.measure.times and not group.key.is_other_seed
        in_sessions = self._related_to(group) | ({self.reference} if is_timed else set())
        scored = in_sessions.union(*(self._scored_beside[id_] for id_ in own))
        companions = sorted(scored.difference(own), key=self._order.__getitem__)
        timed = [id_ for id_ in companions if id_ in in_sessions]
        timed += [*own, *(variant.id for variant in (*sources, *group.variants))]
        names = [self.by_id[id_].entry.name for id_ in (*own, *companions)]
        names += [variant.name for variant in (*sources, *group.variants)]
        return Part(
            id=group.key.title(is_timed=is_timed),
            jobs=own,
            variants=tuple(group.variants),
            companions=tuple(companions),
            sources=tuple(sources),
            timed=tuple(timed) if is_timed else (),
            names=tuple(dict.fromkeys(names)),
        )

    def _related_to(self, group: "_Group") -> set[str]:
        """Return the ids of the jobs that a group's variants come from, and of the teachers of its models."""
        networks = [self._network_of[variant.id] for variant in group.variants]
        teachers = [job.teacher for job in (*group.jobs, *networks) if job.teacher is not None]
        return {job.id for job in (*networks, *teachers)}


class _Key(NamedTuple):
    """What the models of a part share: the seed, and their values on the axes, as text."""

    is_other_seed: bool  # than the first
    seed: int
    axes: tuple[tuple[str, str], ...]

    def title(self, *, is_timed: bool) -> str:
        """Return the title of the part; it has spaces, so that it equals no model's id."""
        models = ", ".join(f"{axis} {value}" for axis, value in self.axes) or "what all points share"
        return f"{'measure' if is_timed else 'score'} {models}{f', seed {self.seed}' if self.is_other_seed else ''}"


@dataclass(frozen=True)
class _Group:
    """The models with one key: their numbers come from one part."""

    key: _Key
    jobs: list[Job] = field(default_factory=list)
    variants: list[Compressed] = field(default_factory=list)


def _source_variants(variants: Iterable[Compressed], known: Mapping[str, Compressed]) -> list[Compressed]:
    """Return the other variants that `variants` are made from, each after its source."""
    ids = {variant.id for variant in variants}
    sources: dict[str, Compressed] = {}
    for variant in variants:
        chain: list[Compressed] = []
        source = known.get(variant.source)
        while source is not None:
            chain.append(source)
            source = known.get(source.source)
        sources |= {source.id: source for source in reversed(chain) if source.id not in ids}
    return list(sources.values())


def reference_of(jobs: Sequence[Job]) -> str:
    """Return the id of the model that all timed parts share: the first with a network, if possible without axes."""
    measured = _measured(jobs)
    return next((job.id for job in measured if not job.entry.axes), measured[0].id)


def _measured(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs whose networks are measured: neither parts of fused networks nor files of logits."""
    return [job for job in jobs if job.part is None and job.logits is None]
