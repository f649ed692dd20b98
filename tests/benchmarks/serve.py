"""The photo service beside ``birefcli matte``: ``serve.py PHOTOS``, a folder of JPEGs and PNGs.

- ``throughput``: photos a second with so many clients at once, and those of ``matte`` on the same
  photos, in turns. Of ``matte`` it is what more photos take (all of them twice, less all of them
  once), so that its start does not count.
- ``overhead``: of a request alone, milliseconds from its first byte sent to its last byte received,
  less those of its stages (``Server-Timing``), with every photo in turn.
- ``soak``: so many requests, and the service's resident memory by hundreds of them.

Each prints its figures. The client runs on the same machine and takes its share of it.
"""

import argparse
import http.client
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE)}
COMMAND = [sys.executable, "-m", "birefcli"]


class Server:
    """A running service."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port
        self._own = threading.local()

    def post(self, data: bytes) -> tuple[float, float]:
        """Seconds of a request, and of its stages. A connection is kept for each thread."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
            self._own.connection = connection
        started = time.perf_counter()
        connection.request("POST", "/v1/matte", data)
        response = connection.getresponse()
        body = response.read()
        seconds = time.perf_counter() - started
        if response.status != 200:
            raise SystemExit(f"{response.status}: {body[:200]!r}")
        stages = re.findall(r"dur=([\d.]+)", response.headers["server-timing"])
        return seconds, sum(map(float, stages)) / 1000

    @property
    def resident(self) -> float:
        """Memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    def take_peak(self) -> float:
        """Largest memory in MB since this was last asked."""
        folder = Path(f"/proc/{self.process.pid}")
        peak = int((folder / "status").read_text().partition("VmHWM:")[2].split()[0]) / 1000
        (folder / "clear_refs").write_text("5")
        return peak


@contextmanager
def serving(model: str) -> Iterator[Server]:
    """The service, once it is ready."""
    words = [*COMMAND, "serve", "--model", model, "--port", "0", "--queue", "1000"]
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"ready on http://127\.0\.0\.1:(\d+)", line):
            break
    else:
        raise SystemExit("the service did not start")
    log = process.stderr
    threading.Thread(target=lambda: [None for _ in log], daemon=True).start()
    try:
        yield Server(process, int(found[1]))
    finally:
        process.terminate()
        process.wait(60)


def matte_seconds(photos: list[Path], times: int, model: str) -> float:
    """Seconds of ``birefcli matte`` on all photos, so many times."""
    with tempfile.TemporaryDirectory() as folder:
        for i, path in itertools.product(range(times), photos):
            (Path(folder) / f"{i}-{path.name}").symlink_to(path.resolve())
        started = time.perf_counter()
        words = [*COMMAND, "matte", folder, "-o", f"{folder}/out", "-q", "--model", model]
        subprocess.run(words, env=ENVIRONMENT, check=True)
        return time.perf_counter() - started


def throughput(photos: list[Path], model: str, clients: int, rounds: int) -> None:
    """Take turns, and print photos a second."""
    files = [path.read_bytes() for path in photos]
    served, batch = [], []
    with serving(model) as server:
        _post_all(server, files, clients)
        for _ in range(rounds):
            once, twice = (matte_seconds(photos, times, model) for times in (1, 2))
            batch.append(len(files) / (twice - once))
            started = time.perf_counter()
            _post_all(server, files * 2, clients)
            served.append(2 * len(files) / (time.perf_counter() - started))
            print(f"matte {batch[-1]:.2f}/s, serve {served[-1]:.2f}/s", flush=True)
    ratio = statistics.median(s / b for s, b in zip(served, batch, strict=True))
    print(
        f"medians of {rounds}: matte {statistics.median(batch):.2f} photos/s,"
        f" serve with {clients} clients {statistics.median(served):.2f}; ratio {ratio:.2f}"
    )


def _post_all(server: Server, files: list[bytes], clients: int) -> None:
    with ThreadPoolExecutor(clients) as pool:  # new threads: idle connections may be closed by now
        list(pool.map(server.post, files))


def overhead(photos: list[Path], model: str, rounds: int) -> None:
    """Print what a request alone takes beyond its stages."""
    files = [path.read_bytes() for path in photos]
    with serving(model) as server:
        server.post(files[0])
        taken = [server.post(data) for _ in range(rounds) for data in files]
    beyond = sorted((seconds - stages) * 1000 for seconds, stages in taken)
    print(
        f"{len(beyond)} requests alone: {statistics.median(s for s, _ in taken) * 1000:.0f} ms,"
        f" beyond their stages {statistics.median(beyond):.1f} ms at the median,"
        f" {beyond[len(beyond) * 9 // 10]:.1f} ms at nine tenths"
    )


def soak(photos: list[Path], model: str, clients: int, requests: int) -> None:
    """Print resident memory by hundreds of requests."""
    files = [path.read_bytes() for path in photos]
    peaks = []
    with serving(model) as server, ThreadPoolExecutor(clients) as pool:
        for first in range(0, requests, 100):
            server.take_peak()
            list(
                pool.map(server.post, itertools.islice(itertools.cycle(files), first, first + 100))
            )
            peaks.append(server.take_peak())
            print(
                f"{first + 100:6}: peak {peaks[-1]:.0f} MB, now {server.resident:.0f}", flush=True
            )
    print(f"peak of the last hundred / of the second: {peaks[-1] / peaks[1]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("verb", choices=("throughput", "overhead", "soak"))
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1000)
    given = parser.parse_args()
    kinds = (".jpg", ".jpeg", ".png")
    photos = sorted(path for path in given.photos.iterdir() if path.suffix.lower() in kinds)
    if given.verb == "throughput":
        throughput(photos, given.model, given.clients, given.rounds)
    elif given.verb == "overhead":
        overhead(photos, given.model, given.rounds)
    else:
        soak(photos, given.model, given.clients, given.requests)


if __name__ == "__main__":
    main()
