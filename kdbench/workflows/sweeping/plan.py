"""The plan of a sweep: its trainings, and which models are measured together.

Models with the same values on the axes are one part. With the first seed they are timed, in sessions that they share
with their teachers and with a reference model that is in every timed part and makes their numbers comparable. With the
other seeds they are only scored, because seeds do not affect times.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kdbench.recipe import Recipe, Student, Teacher, Variant
from kdbench.recipe.sweeps.points import Point
from kdbench.workflows.study.analyses import LabelOnlyStudents, baselines_of
from kdbench.workflows.study.plan import Job

Place = tuple[tuple[str, str], ...]
"""The values of a model on its axes, as text."""


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
        return tuple(self._parts())

    @cached_property
    def part_of(self) -> Mapping[str, str]:
        """The part that provides the numbers of each model, by the model's id."""
        return {id_: part.id for part in self.parts for id_ in part.models}

    @cached_property
    def models_of_point(self) -> Sequence[tuple[str, ...]]:
        """The ids of the models of each point, all seeds."""
        by_name: dict[str, list[str]] = {}
        for job in self.jobs:
            if job.part is None and job.logits is None:
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
        roles: Sequence[Iterable[Teacher | Student | Variant]] = (
            self.recipe.teacher,
            self.recipe.student,
            self.recipe.variant,
        )
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
                others |= _needed_entries(self.recipe, self.recipe.student[place])
            closure = frozenset({name}).union(*(self._closure(other) for other in others))
            self._closures[name] = closure
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

    def _parts(self) -> Iterator[Part]:
        first_seed, independents = self.recipe.seeds[0], LabelOnlyStudents(self.jobs)
        baselines = baselines_of(self.recipe, self.jobs, independents)
        measured = [job for job in self.jobs if job.part is None and job.logits is None]
        jobs: dict[tuple[bool, int, Place], list[Job]] = {}
        for job in measured:
            place = _place_of(job.entry.axes)
            jobs.setdefault((job.of_seed != first_seed, job.of_seed, place), []).append(job)
        network: dict[str, Job] = {job.id: job for job in measured}  # the job that each model comes from
        variants: dict[tuple[bool, int, Place], list[Compressed]] = {}
        for entry, variant in self._variants:
            job = network[variant.id] = network[variant.source]
            key = (job.of_seed != first_seed, job.of_seed, _place_of({**job.entry.axes, **entry.axes}))
            variants.setdefault(key, []).append(variant)
            jobs.setdefault(key, [])
        known = {variant.id: variant for _, variant in self._variants}
        order = {job.id: place for place, job in enumerate(self.jobs)}
        for key, group in sorted(jobs.items(), key=lambda item: item[0][:2]):
            own_ids, compressed = {job.id for job in group}, variants.get(key, [])
            timed = not key[0] and self.recipe.measure.times
            sources = _source_variants(compressed, known)
            compressed_jobs = [network[variant.id] for variant in compressed]
            compared = {job.id: job for job in compressed_jobs}
            compared |= {job.teacher.id: job.teacher for job in (*group, *compressed_jobs) if job.teacher is not None}
            timed_ids = {*compared, *own_ids, *(variant.id for variant in sources), self.reference}
            for job in group:
                if (other := independents.of(job)) is not None:
                    compared[other.id] = other
                compared |= {other.id: other for other in baselines.get(job.id, ()) if other.logits is None}
            if timed:
                compared[self.reference] = self.by_id[self.reference]
            companions = sorted(compared.keys() - own_ids, key=order.__getitem__)
            names = [job.entry.name for job in (*group, *(compared[id_] for id_ in companions))]
            part = Part(
                _title(key, timed=timed),
                tuple(job.id for job in group),
                tuple(compressed),
                tuple(companions),
                tuple(sources),
                (),
                tuple(dict.fromkeys((*names, *(variant.name for variant in (*sources, *compressed))))),
            )
            timed_ids.update(variant.id for variant in compressed)
            yield replace(part, timed=tuple(id_ for id_ in part.model_ids if id_ in timed_ids)) if timed else part


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
    measured = [job for job in jobs if job.part is None and job.logits is None]
    return next((job.id for job in measured if not job.entry.axes), measured[0].id)


def _title(key: tuple[bool, int, Place], *, timed: bool) -> str:
    """Return the title of a part; it has spaces, so that it equals no model's id."""
    other_seed, seed, place = key
    models = ", ".join(f"{axis} {value}" for axis, value in place) or "what all points share"
    return f"{'measure' if timed else 'score'} {models}{f', seed {seed}' if other_seed else ''}"


def _place_of(axes: Mapping[str, object]) -> Place:
    return tuple(sorted((axis, str(value)) for axis, value in axes.items()))


def _needed_entries(recipe: Recipe, student: Student) -> set[str]:
    """Return the names of the entries that a student's training and comparison need."""
    names = {teacher.name for teacher in recipe.teachers_of(student)}
    if student.start is not None and student.start.model is not None:
        names.add(student.start.model)
    if student.prune is not None:
        names.add(recipe.pruned_from(student).name)
    return names
