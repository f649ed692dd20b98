"""Calls ahead of what is asked for: in order, and never more than there is room for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from birefcli.system.prefetch import prefetch


class Meter:
    """Counts what is in flight: from the start of a call until its result is taken."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def begin(self, amount):
        with self.lock:
            self.now += amount
            self.most = max(self.most, self.now)
        return amount

    def end(self, amount):
        with self.lock:
            self.now -= amount


def test_calls_in_flight_cost_no_more_than_the_budget_and_results_keep_their_order():
    meter, prices = Meter(), [3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 8, 9, 7, 9] * 5
    with ThreadPoolExecutor(4) as pool:
        found = []
        futures = prefetch(pool, meter.begin, prices, 4, cost=lambda price: price, budget=10)
        for future in futures:
            found.append(future.result())
            meter.end(found[-1])
    assert found == prices
    assert meter.most <= 10


def test_an_item_that_costs_more_than_the_budget_is_called_alone():
    meter = Meter()
    with ThreadPoolExecutor(3) as pool:
        futures = prefetch(pool, meter.begin, [1, 99, 1, 1], 3, cost=lambda price: price, budget=5)
        for future in futures:
            meter.end(future.result())
    assert meter.most == 99


@pytest.mark.parametrize(("eager", "left"), [(True, 0), (False, 3)])
def test_only_who_is_not_eager_finds_calls_in_flight_at_each_result(eager, left):
    class Done(ThreadPoolExecutor):
        """Ends each call before the next is submitted."""

        def submit(self, call, *args):
            future = super().submit(call, *args)
            future.result()
            return future

    begun, running = [], []
    with Done(1) as pool:
        futures = prefetch(pool, lambda n: begun.append(n) or n, range(10), 4, eager=eager)
        for number, future in enumerate(futures):
            assert future.result() == number
            running.append(len(begun) - number - 1)  # without the one that is given
    assert running[0] == left
    assert set(running[:-3]) == {left}


def test_what_a_call_raises_is_raised_by_its_result_alone():
    def invert(number):
        return 1 / number

    with ThreadPoolExecutor(2) as pool:
        one, zero, two = prefetch(pool, invert, [1, 0, 2], 8)
        assert one.result() == 1
        assert two.result() == 0.5
        with pytest.raises(ZeroDivisionError):
            zero.result()
