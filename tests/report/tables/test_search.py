"""The best points of a search, and what is said where none is within the limits."""

import pytest

from kdbench.report.tables.search import MAX_ROWS, search, search_sentence


@pytest.fixture
def searched(make_record, make_card):
    """A record of a search whose points have these scores, sizes and outcomes."""

    def make(scores, **changes):
        cards = [make_card("student-kd", id=f"kd-{n}", name=f"kd-{n}", family="kd") for n in range(len(scores))]
        listed = [
            {
                "model": card.id,
                "values": {"terms.0.temperature": 1.5 + n},
                "score": {"value": score},
                "outcome": outcome,
                "limits": [{"value": size, "outcome": outcome}],
            }
            for n, (card, (score, size, outcome)) in enumerate(zip(cards, scores, strict=True))
        ]
        limits = [{"text": "size_bytes <= 10 kB", "metric": "size_bytes"}]
        counts = {"trials": len(scores) + 3, "pruned": 2, "failed": 1}
        known = {"goal": "max top1 where size_bytes <= 10 kB", "metric": "top1", "limits": limits, "points": listed}
        protocol = {"search": {**known, **counts, **changes}}
        return make_record(models=cards, measurements=(), pairs=(), warnings=(), recipe=None, protocol=protocol)

    return make


def test_points_within_the_limits(searched):
    record = searched([(0.9, 9000, "PASS"), (0.8, 8000, "PASS"), (0.99, 20_000, "FAIL")])
    table = search(record)
    assert [column.head for column in table.columns][:4] == ["Model", "temperature", "Validation Top-1", "Model size"]
    assert [row.cells[0].text for row in table.rows] == ["kd-0", "kd-1", "kd-2"]
    assert [row.cells[2].best for row in table.rows] == [True, False, False], "those beyond a limit do not compete"
    assert search_sentence(record) == (
        "Of 6 trials for `max top1 where size_bytes <= 10 kB` (2 pruned early, 1 failed), 2 are within the limits; the "
        "best is `kd-0`: top1 90.00 %."
    )


def test_none_within_the_limits(searched):
    sentence = search_sentence(searched([(0.9, 12_000, "FAIL"), (0.99, 20_000, "FAIL")]))
    assert "none is within the limits. The nearest is `kd-0`" in sentence
    assert "size_bytes 12.0 kB where the limit is `size_bytes <= 10 kB`" in sentence


def test_none_shown_to_be_within_the_limits(searched):
    assert "none is shown to be" in search_sentence(searched([(0.9, 10_000, "MARGINAL"), (0.99, 20_000, "FAIL")]))


def test_many_points_are_cut_and_the_note_says_so(searched):
    table = search(searched([(0.5, 9000, "PASS")] * (MAX_ROWS + 3)))
    assert len(table.rows) == MAX_ROWS
    assert any("3 more points" in note for note in table.notes)


@pytest.mark.parametrize(
    "changes", [{"points": "x"}, {"metric": "nobodys"}, {"limits": []}, {"trials": -1}, {"points": [{"model": 3}]}]
)
def test_what_is_no_search_is_not_shown(searched, changes):
    record = searched([(0.9, 9000, "PASS")], **changes)
    assert not search(record).shown
    assert search_sentence(record) == ""


def test_a_record_without_a_search(make_record):
    assert not search(make_record()).shown
