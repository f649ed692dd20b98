"""A Ray cluster of several nodes on this machine, for tests and benchmarks.

It is a process of its own, listens on the loopback only, and ends when its standard input does: so
it is gone when a test is, however that ended. As a script it takes commands, one a line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"
ENVIRONMENT = {
    # Else Ray takes an address of the network in place of the loopback's.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


class RayCluster:
    """A cluster whose nodes have one CPU each."""

    def __init__(self, environment: Mapping[str, str], nodes: int = 2) -> None:
        """The first node is the head, and has a CPU as well."""
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, **ENVIRONMENT},
            text=True,
            start_new_session=True,
        )
        self.address = self._do("start")
        self.environment = {**ENVIRONMENT, "RAY_ADDRESS": self.address}
        """Of a command that is to find the cluster."""
        for _ in range(nodes - 1):
            self.add()

    def add(self, **environment: str) -> str:
        """One more node, whose processes have these variables too; returns its name here."""
        return self._do(f"add {json.dumps(environment)}")

    def remove(self, node: str) -> None:
        """End a node at once, as a loss of power would."""
        self._do(f"remove {node}")

    def close(self) -> None:
        """End all of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _do(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            word, _, answer = line.partition(" ")
            if word == "ANSWER":
                return answer.strip()
        raise AssertionError(f"the cluster has ended at: {command}")


@contextmanager
def ray_cluster(environment: Mapping[str, str], nodes: int = 2) -> Iterator[RayCluster]:
    """A cluster within a block."""
    cluster = RayCluster(environment, nodes)
    try:
        yield cluster
    finally:
        cluster.close()


def _serve() -> None:
    from ray.cluster_utils import Cluster

    cluster, nodes = None, {}
    node = {"node_ip_address": LOOPBACK, "num_cpus": 1, "object_store_memory": 80 << 20}
    for line in sys.stdin:
        command, _, given = line.strip().partition(" ")
        answer = ""
        if cluster is None:
            head = {**node, "include_dashboard": False}
            cluster = Cluster(initialize_head=True, head_node_args=head, connect=False)
            answer = cluster.address
        elif command == "add":
            answer = str(len(nodes))
            nodes[answer] = cluster.add_node(**node, env_vars=json.loads(given))
        elif command == "remove":
            cluster.remove_node(nodes.pop(given), allow_graceful=False)
        print(f"ANSWER {answer}", flush=True)
    if cluster is not None:
        cluster.shutdown()


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # nothing here is Ray's
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _serve()
