"""What the system tells of cores."""

from kdbench.machine.topology import siblings, strength


def test_siblings_are_lists_and_ranges(tmp_path):
    for core, told in ((1, "0-1,4"), (2, "2")):
        path = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"{told}\n")
    assert siblings(1, tmp_path) == {0, 1, 4}
    assert siblings(2, tmp_path) == {2}
    assert siblings(9, tmp_path) is None


def test_strength_is_the_capacity_or_else_the_highest_clock(tmp_path):
    folder = tmp_path / "sys/devices/system/cpu/cpu3"
    (folder / "cpufreq").mkdir(parents=True)
    assert strength(3, tmp_path) == 0
    (folder / "cpufreq/cpuinfo_max_freq").write_text("3600000\n")
    assert strength(3, tmp_path) == 3_600_000
    (folder / "cpu_capacity").write_text("1024\n")
    assert strength(3, tmp_path) == 1024
