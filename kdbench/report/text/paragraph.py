"""A record in one paragraph: what a reader can and cannot conclude from it."""

import math
from collections import Counter

from kdbench.report.axes import format_axes, headline
from kdbench.report.cells import Number, bracketed, shortened
from kdbench.report.model_groups import ModelGroup, has_one_seed, is_timed, model_groups, teacher_of
from kdbench.report.numbers import number
from kdbench.report.scores import ERROR, score_of
from kdbench.report.tables.energy import energies, energy_ratio, format_scope, scope_of
from kdbench.report.tables.gains import differences, gain, most_accurate_on_labels, on_labels_alone
from kdbench.report.tables.summary import summary
from kdbench.report.text.warnings import grouped_warnings
from kdbench.results.records import RunRecord

_THE_TEACHER = "the teacher"  # if there is only one


def paragraph(record: RunRecord) -> str:
    """Return one paragraph, model names in backticks: the teacher, the best students, and what was not measured."""
    groups = model_groups(record)
    teachers = {group.label: teacher for group in groups if (teacher := teacher_of(record, group))}
    students = [group for group in groups if group.label in teachers]
    named = set(teachers.values())
    several = len(named) > 1
    if several:
        sentences = [_counts(groups, students, len(named))]
    else:
        reference = [group for group in groups if group.label not in teachers]
        compared = [group for group in reference if group.label in named] or reference
        sentences = [_reference(record, group) for group in compared[:1]]
        if len(students) > 2:
            sentences.append(f"{len(students)} students are compared with it.")
    for opening, student in _notable(record, students):
        teacher = f"`{teachers[student.label]}`" if several else _THE_TEACHER
        sentences.append(_student(record, student, opening, teacher))
    return " ".join([*sentences, *_distillation(record, students), *_gaps(record)])


def _counts(groups: list[ModelGroup], students: list[ModelGroup], references: int) -> str:
    """Return how many models there are of each kind, for students with several references."""
    variants = sum(group.role == "variant" for group in groups)
    if not variants:
        return f"{references} teachers and {len(students)} students: each student is compared with its own teacher."
    teachers, others = (sum(group.role == role for group in groups) for role in ("teacher", "student"))
    numbers = ((teachers, "teacher"), (others, "student"), (variants, "compressed variant"))
    kinds = [f"{count} {kind}{'' if count == 1 else 's'}" for count, kind in numbers if count]
    listed = f"{', '.join(kinds[:-1])} and {kinds[-1]}"
    return f"{listed}: each variant is compared with the model from which it was made."


def _reference(record: RunRecord, group: ModelGroup) -> str:
    """Describe accuracy and latency of a model that is not compared with another."""
    axes = headline(record)
    mean = number(record, group, "latency_mean_ns", axes)
    accuracy = _reaches(record, group)
    role = "The teacher " if group.role == "teacher" else ""
    if not is_timed(record):
        return f"{role}`{group.label}` {accuracy}."
    time = f"takes {mean.text} per call{format_axes(axes, ' at ')}" if mean.value is not None else _no("latency", mean)
    return f"{role}`{group.label}` {accuracy} and {time}."


def _reaches(record: RunRecord, group: ModelGroup) -> str:
    """Describe a model's score."""
    score = score_of(record)
    cell = number(record, group, score.metric)
    if cell.value is None:
        return _no(score.noun, cell)
    return f"has an RMSE of {cell.with_interval}" if score is ERROR else f"reaches {cell.with_interval} top-1"


def _notable(record: RunRecord, students: list[ModelGroup]) -> list[tuple[str, ModelGroup]]:
    """Return the students that get a sentence, with the opening of it.

    Up to two students all get one. Otherwise: the student with the best score, and the one whose mean latency is
    clearly below all others, if any. Speed-ups do not rank students: their teachers may differ.
    """
    if len(students) <= 2:
        return [("", student) for student in students]
    score = score_of(record)
    cells = [(cell.value, s) for s in students if (cell := number(record, s, score.metric)).competes and cell.value]
    accurate = (max if score.higher_is_better else min)(cells, key=lambda pair: pair[0])[1] if cells else None
    best = "Highest top-1" if score.higher_is_better else "Lowest RMSE"
    fastest = _clearly_fastest(record, students)
    if accurate and accurate is fastest:
        return [(f"{best} and clearly fastest: ", accurate)]
    named = [(f"{best}: ", accurate), ("Clearly fastest: ", fastest)]
    return [(opening, student) for opening, student in named if student]


def _clearly_fastest(record: RunRecord, students: list[ModelGroup]) -> ModelGroup | None:
    """Return the student whose latency interval lies below the intervals of all other students, or None."""
    times = [(student, number(record, student, "latency_mean_ns", headline(record))) for student in students]
    valued = [(student, time) for student, time in times if time.value is not None]
    bounds = [(time.interval.low, index) for index, (_, time) in enumerate(valued) if time.interval is not None]
    if len(bounds) < max(len(valued), 2):
        return None
    (_, first), (next_low, _), *_ = sorted(bounds)
    fastest, time = valued[first]
    high = time.interval.high if time.competes and time.interval else math.inf
    return fastest if high < next_low else None


def _student(record: RunRecord, student: ModelGroup, opening: str, teacher: str) -> str:
    """Describe what a student gains and loses against its teacher."""
    size = number(record, student, "size_ratio")
    results = [
        number(record, student, score_of(record).metric),
        number(record, student, "latency_ratio", headline(record)),
        size,
    ]
    if all(cell.value is None for cell in results) and len({cell.reason for cell in results}) == 1:
        return f"`{student.label}` {_no('results', size)}."
    name = f"{opening}`{student.label}`{'. It' if opening else ''}"
    quality = _error if score_of(record) is ERROR else _accuracy
    clauses = [quality(record, student, teacher)]
    if is_timed(record):
        clauses += [_speed(record, student, teacher), *_energy(record, student)]
    if size.value is not None:
        clauses.append(_size(size))
    if len(clauses) == 1:
        return f"{name} {clauses[0]}."
    return f"{name} {', '.join(clauses[:-1])}{',' if len(clauses) > 2 else ''} and {clauses[-1]}."


def _size(ratio: Number) -> str:
    """Describe a student's file by its size ratio, teacher over student."""
    assert ratio.value is not None
    if ratio.text == ratio.write(1.0):
        return "its file has the same size"
    return f"its file is {ratio.text} smaller" if ratio.value > 1 else f"its file is larger (size ratio {ratio.text})"


def _accuracy(record: RunRecord, student: ModelGroup, teacher: str) -> str:
    top1, drop = number(record, student, "top1"), number(record, student, "top1_drop")
    if top1.value is None:
        return _no("accuracy", top1)
    if drop.value is None:
        return f"reaches {top1.with_interval} top-1 (difference from {teacher}: {drop.text})"
    points = f"{abs(drop.value):.2f}"
    side = "below" if drop.value > 0 else "above"
    distance = f"{points} points {side} {teacher}" if float(points) else f"the same accuracy as {teacher}"
    if drop.interval is None:
        return f"has {top1.text} top-1 ({distance}; no interval)"
    bounds = bracketed(drop.value, drop.interval, drop.write)
    level = f"{100 * drop.interval.level:g} % interval of the drop {bounds}"
    if drop.interval.low <= 0 <= drop.interval.high:
        return f"has {top1.text} top-1, which this run cannot distinguish from {teacher}'s ({distance}; {level})"
    return f"{'keeps' if drop.value > 0 else 'has'} {top1.text} top-1 ({distance}; {level})"


def _error(record: RunRecord, student: ModelGroup, teacher: str) -> str:
    """Describe the errors of a regression's student and of its teacher."""
    ratio, reaches = number(record, student, "rmse_ratio"), _reaches(record, student)
    if ratio.value is None or number(record, student, "rmse").value is None:
        return reaches
    if ratio.interval is None:
        return f"{reaches} ({teacher}'s is {ratio.text} as large; no interval)"
    level = f"{100 * ratio.interval.level:g} % interval {bracketed(ratio.value, ratio.interval, ratio.write)}"
    if ratio.interval.low <= 1 <= ratio.interval.high:
        return f"{reaches}, which this run cannot distinguish from {teacher}'s ({ratio.text} as large; {level})"
    return f"{reaches} ({teacher}'s is {ratio.text} as large; {level})"


def _speed(record: RunRecord, student: ModelGroup, teacher: str) -> str:
    speed = number(record, student, "latency_ratio", headline(record))
    if speed.value is None:
        return _no("speed-up", speed)
    if speed.interval is None:
        return f"runs at {speed.text} {teacher}'s speed (no interval)"
    if speed.interval.low <= 1 <= speed.interval.high:
        return f"is not measurably faster or slower ({speed.with_interval} {teacher}'s speed)"
    if speed.value < 1:
        return f"is slower than {teacher} ({speed.with_interval} its speed)"
    return f"runs {speed.with_interval} faster{'' if teacher == _THE_TEACHER else f' than {teacher}'}"


def _energy(record: RunRecord, student: ModelGroup) -> list[str]:
    """Describe the energy that a student saves; nothing unless it was measured."""
    ratio = energy_ratio(record, student)
    if ratio.value is None or ratio.interval is None or ratio.evidence != "measured" or not ratio.competes:
        return []
    compared = {*student.ids, *(pair.teacher for pair in record.pairs if pair.student in student.ids)}
    measured = [m for m in energies(record, "energy_j") if m.model in compared and m.value is not None]
    scope = scope_of(measured[0]) if measured else ""
    energy = f"energy of {format_scope(scope)}" if scope else "energy"
    if ratio.interval.low <= 1 <= ratio.interval.high:
        return [f"does not take measurably less or more {energy} (ratio {ratio.with_interval})"]
    if ratio.value < 1:
        return [f"takes more {energy} (ratio {ratio.with_interval})"]
    return [f"takes {ratio.with_interval} less {energy}"]


def _distillation(record: RunRecord, students: list[ModelGroup]) -> list[str]:
    """Say what distillation adds to the accuracy of the same network trained on labels alone, where it adds most."""
    gains = [
        (cell, cell.value, student, alone)
        for student in students
        for alone in on_labels_alone(record, student)
        if (cell := gain(record, student, alone, "top1_gain")).value is not None and cell.interval is not None
    ]
    if not gains:
        return []
    clear = [entry for entry in gains if entry[0].interval is not None and entry[0].interval.low > 0]
    largest = max(gains, key=lambda entry: entry[1])
    cell, value, student, alone = max(clear, key=lambda entry: entry[1]) if clear else largest
    assert cell.interval is not None
    is_largest = cell is largest[0]
    seed = " of one seed" if has_one_seed(record) else ""
    level = f"{100 * cell.interval.level:g} % interval{seed} {bracketed(value, cell.interval, cell.write)}"
    place = "the largest" if is_largest else "the largest certain one"
    chosen = f"; {place} of {len(gains)} differences, partly by chance" if len(gains) > 1 else ""
    difference = f"{cell.text} points of top-1 ({level}{chosen})"
    unequal = differences(record, student, alone)
    others = f", with {', '.join(unequal[:-1])}{' and ' if len(unequal) > 1 else ''}{unequal[-1]}" if unequal else ""
    if cell.interval.low > 0:
        most = "most for" if len(gains) > 1 and is_largest else "for"
        sentence = (
            f"Distillation gains {most} `{student.label}`: {difference} over `{alone.label}`, trained on labels alone"
        )
    elif cell.interval.high < 0:
        least = ", least with" if len(gains) > 1 else " with"
        sentence = f"Distillation lowers accuracy{least} `{student.label}`: {difference} from `{alone.label}`'s"
    else:
        pair = f"for `{student.label}` over `{alone.label}`"
        sentence = f"Distillation shows no gain in accuracy over labels alone: {difference} {pair}"
    return [f"{sentence}{others}.", *_better_on_labels(record, student, alone)]


def _better_on_labels(record: RunRecord, student: ModelGroup, alone: ModelGroup) -> list[str]:
    """Name a student that learned more than `alone` from the labels, with another augmentation or other settings."""
    best = most_accurate_on_labels(record, student)
    if best is None or best.ids == alone.ids:
        return []
    top1, others = number(record, best, "top1"), number(record, alone, "top1")
    if top1.value is None or others.value is None or top1.value <= others.value:
        return []
    return [f"Trained on labels alone with other settings, `{best.label}` has {top1.with_interval} top-1."]


def _gaps(record: RunRecord) -> list[str]:
    """Name the columns of the summary without a value, and count unstable values and warnings."""
    table = summary(record)
    empty: dict[str, list[str]] = {}
    for index, column in enumerate(table.columns):
        cells = [cell for row in table.rows if isinstance(cell := row.cells[index], Number)]
        if cells and all(cell.value is None for cell in cells):
            (reason, _), *_ = Counter(cell.reason for cell in cells).most_common(1)
            empty.setdefault(shortened(reason), []).append(column.head)
    sentences = [f"No value for {', '.join(heads)} ({reason})." for reason, heads in empty.items()]
    if unstable := sum(m.status == "unstable" for m in record.measurements):
        sentences.append(f"{unstable} measurement{' is' if unstable == 1 else 's are'} unstable and marked as such.")
    if count := len(grouped_warnings(record)):
        sentences.append(f"Read the {'warning' if count == 1 else f'{count} warnings'} before relying on the numbers.")
    return sentences


def _no(quantity: str, cell: Number) -> str:
    return f"has no {quantity} ({shortened(cell.reason)})"
