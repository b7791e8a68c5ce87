"""Memory that is left, from files as kernel and container runtimes write them."""

import pytest

from kdbench.machine.headroom import available_bytes

GB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    """Write a machine with 8 GB left; its keywords are further files."""

    def write(files):
        files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:   {8 * GB // 1024} kB\n", **files}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_without_a_container_it_is_what_the_kernel_says(machine):
    assert available_bytes(machine({})) == 8 * GB


def test_a_groups_limit_counts_where_it_is_tighter(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": f"{3 * GB}\n",
            "sys/fs/cgroup/job/memory.current": f"{2 * GB}\n",
        }
    )
    assert available_bytes(root) == GB


def test_page_cache_that_can_be_given_back_is_not_used_up(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{3 * GB}\n",
            "sys/fs/cgroup/memory.current": f"{3 * GB}\n",
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {2 * GB}\nactive_file 7\n",
        }
    )
    assert available_bytes(root) == 2 * GB


def test_a_parents_limit_counts_for_its_children(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/pod/container\n",
            "sys/fs/cgroup/pod/container/memory.max": "max\n",
            "sys/fs/cgroup/pod/container/memory.current": f"{GB}\n",
            "sys/fs/cgroup/pod/memory.max": f"{4 * GB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{3 * GB}\n",
        }
    )
    assert available_bytes(root) == GB


def test_the_first_version_of_groups(machine):
    folder = "sys/fs/cgroup/memory/docker/1b81"
    root = machine(
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/1b81\n3:cpuset:/\n",
            f"{folder}/memory.limit_in_bytes": f"{2 * GB}\n",
            f"{folder}/memory.usage_in_bytes": f"{GB}\n",
            f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB // 2}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{6 * GB}\n",
        }
    )
    assert available_bytes(root) == GB + GB // 2


def test_where_a_group_is_slowed_down_its_memory_ends(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.high": f"{3 * GB}\n",
            "sys/fs/cgroup/memory.current": f"{GB}\n",
        }
    )
    assert available_bytes(root) == 2 * GB


def test_a_group_above_its_limit_leaves_nothing(machine):
    root = machine(
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n", "sys/fs/cgroup/memory.current": "11\n"}
    )
    assert available_bytes(root) == 0


def test_elsewhere_psutil_knows(tmp_path):
    import psutil

    assert 0 < available_bytes(tmp_path) <= psutil.virtual_memory().total
