"""Who is let in."""

import asyncio
from concurrent.futures import Future

import pytest

from birefcli.serve.admission import Admission
from birefcli.serve.errors import Code, RequestError


def refused(call, *args) -> RequestError:
    with pytest.raises(RequestError) as caught:
        call(*args)
    return caught.value


def test_photos_and_their_memory_are_limited():
    async def run():
        admission = Admission(photos=3, memory=100)
        first = admission.admit(2, 60)
        assert refused(admission.admit, 1, 50).code is Code.QUEUE_FULL
        second = admission.admit(1, 40)
        assert refused(admission.admit, 1, 0).code is Code.QUEUE_FULL
        first.release()
        second.release()
        assert (admission.photos, admission.used) == (0, 0)

    asyncio.run(run())


def test_what_is_larger_than_all_there_is_has_its_turn_alone():
    async def run():
        admission = Admission(photos=3, memory=100)
        large = admission.admit(5, 1000)
        error = refused(admission.admit, 1, 1)
        assert 1 <= error.retry_after <= 60
        large.release()
        admission.admit(1, 1)
        refused(admission.admit, 1, 1000)

    asyncio.run(run())


def test_a_place_is_given_back_once_no_thread_is_at_work_on_it():
    async def run():
        admission = Admission(photos=3, memory=100)
        place = admission.admit(1, 60)
        futures = [Future(), Future(), Future()]
        futures[0].set_result(None)
        for future in futures:
            place.hold(future)
        futures[1].set_running_or_notify_cancel()
        place.release()
        futures[1].set_result(None)
        await asyncio.sleep(0)
        assert admission.used == 60
        futures[2].cancel()
        await asyncio.sleep(0.01)
        assert admission.used == 0

    asyncio.run(run())


def test_bodies_are_limited_beside_photos_but_one_alone_always_fits():
    admission = Admission(photos=3, memory=100)
    admission.take_body(90, 0)
    admission.take_body(90, 90)  # it is the only one
    assert refused(admission.take_body, 1, 0).code is Code.QUEUE_FULL
    admission.drop_body(180)
    admission.take_body(1, 0)


def test_fetches_are_limited_too():
    admission = Admission(photos=1, memory=100)
    with admission.fetch():
        assert refused(admission.fetch().__enter__).code is Code.QUEUE_FULL
    with admission.fetch():
        pass
