"""A Ray cluster of several nodes on this machine, for tests and benchmarks.

It is a process of its own, listens on the loopback only, and ends when its standard input does: so
it is gone when a test is, however that ended. As a script it takes commands, one a line.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

LOOPBACK = "127.0.0.1"
ENVIRONMENT = {
    # Else Ray takes an address of the network in place of the loopback's.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


IN_EVERY_PROCESS = """\
import os
if "FAULT" in os.environ:
    with open(os.environ["FAULT"]) as file:
        exec(file.read())
"""
"""Python imports it as it starts, as sitecustomize: a node's processes may be given a fault."""


class RayCluster:
    """A head without a CPU, where no worker is, and nodes that come and go."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        """``folder``: of this cluster alone."""
        (folder / "sitecustomize.py").write_text(IN_EVERY_PROCESS)
        path = [folder, *filter(None, [environment.get("PYTHONPATH")]), Path.cwd()]
        # Ray notes in its folder which cluster the programs of a machine are to join.
        more = {"RAY_TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(map(str, path))}
        self.folder, self._faults = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, **ENVIRONMENT, **more},
            text=True,
            start_new_session=True,
        )
        self.nodes: list[str] = []
        self.environment = dict(ENVIRONMENT)
        """Of a command that is to find the cluster."""

    def start(self) -> None:
        """Start the head."""
        self.environment["RAY_ADDRESS"] = self._do("head")

    def add(self, fault: str = "", gpus: int = 0) -> str:
        """One more node, of one CPU, whose processes all run this first; returns what it is called.

        ``fault``: source of Python. ``gpus``: that Ray is to believe in.
        """
        self._faults += 1
        file = self.folder / f"fault{self._faults}.py"
        file.write_text(fault)
        self.nodes.append(self._do(f"add {gpus} {file}"))
        return self.nodes[-1]

    def remove(self, node: str) -> None:
        """End a node at once, as a loss of power would."""
        self.nodes.remove(node)
        self._do(f"remove {node}")

    def clear(self) -> None:
        """End all nodes but the head, in order, so that Ray knows at once."""
        self.nodes.clear()
        self._do("clear")

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
            word, _, answer = line.strip().partition(" ")
            if word == "ANSWER":
                return answer
        raise AssertionError(f"the cluster has ended at: {command}")


@contextmanager
def ray_cluster(environment: Mapping[str, str]) -> Iterator[RayCluster]:
    """A cluster without nodes, within a block."""
    # Sockets lie in it, whose names may not be long.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        cluster = RayCluster(environment, Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


def _serve() -> None:
    """Do what stdin says: head, add GPUS FILE, remove NODE, clear; what is asked for is printed."""
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": LOOPBACK, "object_store_memory": 80 << 20}
    head = {**node, "include_dashboard": False, "num_cpus": 0}
    cluster = Cluster(initialize_head=True, head_node_args=head, connect=False)
    nodes = {}
    for line in sys.stdin:
        command, _, given = line.strip().partition(" ")
        answer = ""
        if command == "head":
            answer = cluster.address
        elif command == "add":
            gpus, _, file = given.partition(" ")
            more = {"num_gpus": int(gpus), "env_vars": {"FAULT": file}}
            if int(gpus):
                os.environ["CUDA_VISIBLE_DEVICES"] = "0"
            added = cluster.add_node(**node, num_cpus=1, **more)
            answer = added.node_id
            nodes[answer] = added
        elif command == "remove":
            cluster.remove_node(nodes.pop(given), allow_graceful=False)
        elif command == "clear":
            while nodes:
                cluster.remove_node(nodes.popitem()[1])
            cluster.wait_for_nodes()
        print(f"ANSWER {answer}", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
