import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from birefcli.batch.sending import TwoStages
from birefcli.system.prefetch import prefetch_by

WAIT = 60.0  # seconds; a machine may be busy


@pytest.fixture
def pools():
    with ThreadPoolExecutor(2) as first, ThreadPoolExecutor(4) as second:
        yield first, second


def test_results_of_two_stages_come_in_order(pools):
    stages = TwoStages(*pools, lambda x: x + 1, lambda x: x * 10, 2)
    results = [f.result(WAIT) for f in prefetch_by(stages.submit, range(50), 8)]
    assert results == [(x + 1) * 10 for x in range(50)]


def test_the_second_stage_begins_though_nobody_takes_a_result(pools):
    ended = threading.Event()
    stages = TwoStages(*pools, lambda x: x, lambda _: ended.set(), 1)

    def items():
        yield 1
        assert ended.wait(WAIT), "the second item waits for what the first one holds"
        yield 2

    assert len([f.result(WAIT) for f in prefetch_by(stages.submit, items(), 8)]) == 2


def test_a_slow_second_stage_keeps_nobody_from_the_first(pools):
    gate, begun = threading.Event(), threading.Semaphore(0)

    def begin(x):
        begun.release()
        return x

    stages = TwoStages(*pools, begin, lambda x: gate.wait(WAIT) and x, 1)
    futures = [stages.submit(x) for x in range(6)]
    for _ in futures:
        assert begun.acquire(timeout=WAIT)
    assert not any(future.done() for future in futures)
    gate.set()
    assert [future.result(WAIT) for future in futures] == list(range(6))


@pytest.mark.parametrize("stage", [0, 1])
def test_what_either_stage_raises_is_the_results(pools, stage):
    calls = [lambda x: x, lambda x: x]
    calls[stage] = lambda x: 1 // x
    future = TwoStages(*pools, *calls, 1).submit(0)
    with pytest.raises(ZeroDivisionError):
        future.result(WAIT)


def test_what_has_not_begun_is_cancelled_with_its_pool():
    gate, first, second = threading.Event(), ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    stages = TwoStages(first, second, lambda x: gate.wait(WAIT) and x, lambda x: x, 3)
    futures = [stages.submit(x) for x in (1, 2, 3)]
    first.shutdown(wait=False, cancel_futures=True)
    gate.set()
    first.shutdown(wait=True)
    second.shutdown(wait=True)
    assert futures[0].result(WAIT) == 1
    assert [future.cancelled() for future in futures] == [False, True, True]
