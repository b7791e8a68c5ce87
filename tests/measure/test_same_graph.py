from kdbench.measure.runner import ProcessResults
from kdbench.measure.same_graph import GraphGroups

TWINS = GraphGroups({"teacher": "g1", "alone": "g2", "kd": "g2"}, {"teacher": "teacher", "alone": "alone", "kd": "kd"})


def test_twins_share_processes_and_each_runs_in_one_at_least():
    assert TWINS.shares(6) == {"teacher": 6, "alone": 3, "kd": 3}
    assert TWINS.shares(3) == {"teacher": 3, "alone": 2, "kd": 2}
    assert TWINS.shares(1) == {"teacher": 1, "alone": 1, "kd": 1}


def test_a_twin_that_failed_leaves_the_others_their_own_results():
    results = ProcessResults({"teacher": [{"ns": 1}], "alone": [{"ns": 2}, {"ns": 3}]}, {"kd": "killed"})
    pooled = TWINS.pooled(results, {id_: id_ for id_ in TWINS.groups})
    assert pooled.results == results.results
    assert pooled.failed == {"kd": "killed"}


def test_results_at_one_batch_are_not_those_at_another():
    results = ProcessResults({("alone", 1): [{"ns": 1}], ("kd", 1): [{"ns": 2}], ("kd", 8): [{"ns": 3}]})
    pooled = TWINS.pooled(results, {key: key[0] for key in results.results})
    assert pooled.values(("alone", 1), "ns").tolist() == pooled.values(("kd", 1), "ns").tolist() == [1, 2]
    assert pooled.values(("kd", 8), "ns").tolist() == [3]


def test_a_source_names_the_others_that_took_part():
    assert TWINS.shared_with("kd", {"alone": 0, "kd": 0}) == ", shared with alone of the same graph"
    assert not TWINS.shared_with("kd", {"kd": 0, "teacher": 0})
