"""The service under load, for a while."""

import itertools
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served import Served, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are Linux's"),
]
CLIENTS = 16


def take_peak(served: Served) -> int:
    """Largest resident memory in kB since this was last asked."""
    folder = Path(f"/proc/{served.process.pid}")
    peak = int((folder / "status").read_text().partition("VmHWM:")[2].split()[0])
    (folder / "clear_refs").write_text("5")
    return peak


def patient(served: Served, data: bytes) -> list[int]:
    """Statuses of a request that is made again where there was no room."""
    statuses = [served.post("/v1/matte", data).status]
    while statuses[-1] == 429:
        time.sleep(0.1)
        statuses.append(served.post("/v1/matte", data).status)
    return statuses


def test_three_hundred_requests_at_sixteen_at_a_time_leave_memory_as_it_was(environment, portrait):
    photos = [portrait, (Path(__file__).parents[2] / "samples" / "astronaut.png").read_bytes()]
    answers: Counter[int] = Counter()
    peaks = []
    with serving(environment, "--model", "mini", "--queue", "12") as served:
        with ThreadPoolExecutor(CLIENTS) as pool:
            turns = itertools.cycle(photos)
            for _ in range(3):
                take_peak(served)
                hundred = [next(turns) for _ in range(100)]
                for statuses in pool.map(lambda data: patient(served, data), hundred):
                    answers.update(statuses)
                peaks.append(take_peak(served))
        assert set(answers) == {200, 429}
        assert answers[200] == 300
        assert served.metric("birefcli_inflight_bytes ") == 0
        assert served.metric("birefcli_queue_photos ") == 0
        assert served.metric('birefcli_requests_total{dialect="own",status="500"}') == 0
        assert served.stop() == 0
    assert peaks[2] < peaks[1] * 1.1, peaks
