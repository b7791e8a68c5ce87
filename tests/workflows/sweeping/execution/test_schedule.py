from kdbench.workflows.sweeping.execution.schedule import Fault, Schedule, Task

BROKEN = Fault("it broke", "mend it")


def schedule(*tasks):
    return Schedule([Task(id_, kind, tuple(needs)) for id_, kind, needs in tasks])


def run(work, task, fault=None):
    work.start(work.tasks[task])
    work.finish(work.tasks[task], fault)


def test_a_task_comes_after_what_it_needs_and_otherwise_in_order():
    work = schedule(("s1", "train", ["t"]), ("t", "train", []), ("s2", "train", ["t"]), ("m", "measure", ["s1", "t"]))
    order = []
    while work.unfinished:
        task = work.next("train") or work.next("measure")
        order.append(task.id)
        run(work, task.id)
    assert order == ["t", "s1", "s2", "m"]
    assert work.counts["train"] == {"queued": 0, "running": 0, "done": 3}


def test_a_failed_training_takes_along_who_learns_from_it_and_leaves_the_others():
    work = schedule(
        ("t", "train", []),
        ("s", "train", ["t"]),
        ("s-2", "train", ["s"]),
        ("other", "train", []),
        ("m", "measure", ["t", "s-2", "other"]),
    )
    run(work, "t", BROKEN)
    assert work.faults == {
        "t": BROKEN,
        "s": Fault("it needs t, which failed: it broke", "mend it", cause="t"),
        "s-2": Fault("it needs t, which failed: it broke", "mend it", cause="t"),
    }
    assert work.next("measure") is None
    run(work, "other")
    assert work.next("measure").id == "m", "measured with what is left"


def test_thousands_may_depend_on_one():
    chain = [("0", "train", []), *((f"{n}", "train", [f"{n - 1}"]) for n in range(1, 3000))]
    work = schedule(*chain)
    run(work, "0", BROKEN)
    assert len(work.faults) == 3000
    assert not work.unfinished


def test_tasks_that_come_later_know_what_has_ended():
    work = schedule(("a", "train", []), ("b", "train", []))
    run(work, "a")
    run(work, "b", BROKEN)
    work.add([Task("c", "train", ("a",)), Task("d", "train", ("b",)), Task("a", "train"), Task("e", "score", ("b",))])
    assert work.next("train").id == "c"
    assert work.faults["d"].cause == "b"
    assert work.next("score").id == "e"


def test_a_task_may_start_again():
    work = schedule(("a", "train", []), ("b", "train", []))
    work.start(work.tasks["a"])
    work.requeue(work.tasks["a"])
    assert work.next("train").id == "a"
    assert work.counts["train"]["queued"] == 2
