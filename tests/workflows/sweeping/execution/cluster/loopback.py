"""A Ray cluster on 127.0.0.1, for tests: `python loopback.py NODES`, with what each node offers as a JSON list.

It writes a JSON object a line: {"address": …} once all nodes are there, and what became of each line of its input,
`remove NUMBER`. It ends its nodes and itself when its input ends, as when the test's process is gone.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress

# Before Ray is loaded: it would look for an address that other machines reach, and give up nodes that start slowly.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the only way to have it on loopback alone
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_worker_niceness": "0",  # or every other test comes before
}
# A node waits 15 s for agents that choose their ports themselves.
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
_START_S = 200.0


def main(nodes):
    """Start the nodes, the first one as the head, and do what the input says."""
    os.environ.update(ENVIRONMENT)
    from ray._private import services, utils
    from ray.cluster_utils import Cluster

    services.get_node = patient(services.get_node)
    utils.write_ray_address = lambda *_: None  # what `auto` finds on this machine is somebody else's
    folder = tempfile.mkdtemp(prefix="kdbench-ray-", dir="/tmp")  # short: paths of sockets end at 107 characters
    cluster, started = Cluster(shutdown_at_exit=True), []
    try:
        common = {"object_store_memory": 80_000_000, "include_dashboard": False, "include_log_monitor": False}
        for number, offers in enumerate(nodes):
            of_head = {} if number else {"no_monitor": True, "temp_dir": folder}
            ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
            started.append(cluster.add_node(**common, **ports, **of_head, **offers))
        say(address=cluster.address, ids=[node.node_id for node in started])
        for line in sys.stdin:
            cluster.remove_node(started[int(line.split()[1])], allow_graceful=False)
            say(removed=line.strip())
    finally:
        with suppress(Exception):
            cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count):
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def patient(get_node):
    """Let a node take longer to appear than Ray waits for it on a machine that is busy."""

    def get(*arguments):
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)

    return get


def say(**facts):
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
