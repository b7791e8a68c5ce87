"""The record in plain words: what a reader may conclude, and what not."""

from kdbench.records import RunRecord
from kdbench.report.axes import headline, in_words
from kdbench.report.cautions import cautions
from kdbench.report.cells import Number, bracketed, shortened
from kdbench.report.rows import summary
from kdbench.report.subjects import Subject, number, pair_number, subjects, teacher_of


def paragraph(record: RunRecord) -> str:
    """Return one paragraph, model names in backticks: the teacher, the students that matter, the gaps."""
    found = subjects(record)
    students = [subject for subject in found if teacher_of(record, subject)]
    reference = [subject for subject in found if subject not in students]
    sentences = [_alone(record, subject) for subject in reference[:1]]
    if len(students) > 2:
        sentences.append(f"{len(students)} students are compared with it.")
    sentences += [_student(record, student, beginning) for beginning, student in _notable(record, students)]
    sentences += _gaps(record)
    return " ".join(sentences)


def _alone(record: RunRecord, subject: Subject) -> str:
    """Say how good and how fast a model is that is compared with no other."""
    top1 = number(record, subject, "top1")
    axes = headline(record)
    mean = number(record, subject, "latency_mean_ns", axes)
    accuracy = f"reaches {_with_interval(top1)} top-1" if top1.value is not None else _no("accuracy", top1)
    time = f"takes {mean.text} a call{in_words(axes, ' at ')}" if mean.value is not None else _no("latency", mean)
    role = "The teacher " if subject.role == "teacher" else ""
    return f"{role}`{subject.label}` {accuracy} and {time}."


def _notable(record: RunRecord, students: list[Subject]) -> list[tuple[str, Subject]]:
    """Return the students worth a sentence, with how it begins.

    All of up to two; else the one of the highest top-1, and the fastest if its interval lies above that one's.
    """
    if len(students) <= 2:
        return [("", student) for student in students]
    accurate = _best(students, [number(record, student, "top1") for student in students])
    speeds = [pair_number(record, student, "latency_ratio", headline(record)) for student in students]
    fastest = _best(students, speeds)
    chosen = [("Highest in top-1 is ", accurate)] if accurate else []
    if fastest and _clearly_above(speeds[students.index(fastest)], speeds[students.index(accurate or fastest)]):
        chosen.append(("Clearly fastest is ", fastest))
    return chosen


def _best(students: list[Subject], cells: list[Number]) -> Subject | None:
    """Return the student with the largest number among those that may be called the best."""
    rated = [(cell.value or 0.0, student) for student, cell in zip(students, cells, strict=True) if cell.competes]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def _clearly_above(one: Number, other: Number) -> bool:
    return bool(one.interval and other.interval and one.interval.low > other.interval.high)


def _student(record: RunRecord, student: Subject, beginning: str) -> str:
    name = f"{beginning}`{student.label}`{': it' if beginning else ''}"
    clauses = [_accuracy(record, student), _speed(record, student)]
    size = pair_number(record, student, "size_ratio")
    if size.value is not None:
        clauses.append(
            f"its file is {size.text} smaller" if size.value >= 1 else f"its file is larger (size ratio {size.text})"
        )
    return f"{name} {', '.join(clauses[:-1])}{',' if len(clauses) > 2 else ''} and {clauses[-1]}."


def _accuracy(record: RunRecord, student: Subject) -> str:
    top1, drop = number(record, student, "top1"), pair_number(record, student, "top1_drop")
    if top1.value is None:
        return _no("accuracy", top1)
    if drop.value is None:
        return f"reaches {_with_interval(top1)} top-1 (difference from the teacher: {drop.text})"
    points = f"{abs(drop.value):.2f}"
    side = "below" if drop.value > 0 else "above"
    apart = f"{points} points {side} the teacher" if float(points) else "the same number of samples right"
    if drop.interval is None:
        return f"has {top1.text} top-1 ({apart}; no interval)"
    bounds = bracketed(drop.value, drop.interval, drop.write)
    level = f"{100 * drop.interval.level:g} % interval of the drop {bounds}"
    if drop.interval.low <= 0 <= drop.interval.high:
        return f"has {top1.text} top-1, which this run cannot tell from the teacher's ({apart}; {level})"
    return f"{'keeps' if drop.value > 0 else 'has'} {top1.text} top-1 ({apart}; {level})"


def _speed(record: RunRecord, student: Subject) -> str:
    speed = pair_number(record, student, "latency_ratio", headline(record))
    if speed.value is None:
        return _no("speed-up", speed)
    if speed.interval is None:
        return f"runs at {speed.text} the teacher's speed (no interval)"
    if speed.interval.low <= 1 <= speed.interval.high:
        return f"is neither faster nor slower beyond doubt ({_with_interval(speed)} the teacher's speed)"
    if speed.value < 1:
        return f"is slower than the teacher ({_with_interval(speed)} its speed)"
    return f"runs {_with_interval(speed)} faster"


def _gaps(record: RunRecord) -> list[str]:
    """Name the columns of the summary without any number, and how many numbers must not be relied on."""
    table = summary(record)
    empty: dict[str, list[str]] = {}
    for index, column in enumerate(table.columns):
        cells = [cell for row in table.rows if isinstance(cell := row.cells[index], Number)]
        if cells and all(cell.value is None for cell in cells):
            empty.setdefault(shortened(cells[0].reason), []).append(column.head)
    sentences = [f"There is no number for {', '.join(heads)} ({reason})." for reason, heads in empty.items()]
    if unstable := sum(m.status == "unstable" for m in record.measurements):
        sentences.append(f"{unstable} measurement{' is' if unstable == 1 else 's are'} unstable and marked so.")
    if count := len(cautions(record)):
        sentences.append(f"Read the {'warning' if count == 1 else f'{count} warnings'} before relying on the numbers.")
    return sentences


def _with_interval(cell: Number) -> str:
    return f"{cell.text} {cell.interval_text}".rstrip()


def _no(what: str, cell: Number) -> str:
    return f"has no {what} ({shortened(cell.reason)})"
