"""A request's body within its limits, and what becomes of the rest of one that is refused."""

import asyncio

import pytest
from starlette.datastructures import Headers

from birefcli.serve.admission import Admission
from birefcli.serve.body import Body
from birefcli.serve.errors import Code, RequestError


class Sender:
    """A client that sends pieces; after the last of them it sends nothing, or leaves."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.pieces, self.ends, self.asked = list(pieces), ends, 0

    async def receive(self):
        self.asked += 1
        if not self.pieces:
            await asyncio.sleep(300)
        piece = self.pieces.pop(0)
        more = bool(self.pieces) or not self.ends
        return {"type": "http.request", "body": piece, "more_body": more}


def body(sender, limit=100, seconds=300.0, admission=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    admission = admission or Admission(10, 1000)
    return Body(sender.receive, Headers(named), limit, admission, seconds)


def code_of(call) -> Code:
    with pytest.raises(RequestError) as caught:
        asyncio.run(call)
    return caught.value.code


async def read(body) -> bytes:
    data = b""
    while True:
        message = await body.receive()
        data += message["body"]
        if not message["more_body"]:
            return data


def test_what_is_within_the_limit_comes_through_and_is_counted():
    admission = Admission(10, 1000)
    whole = body(Sender(b"abc", b"de"), admission=admission)
    assert asyncio.run(read(whole)) == b"abcde"
    assert (whole.size, admission.bodies) == (5, 5)
    whole.close()
    whole.close()
    assert admission.bodies == 0


def test_a_stated_length_beyond_the_limit_is_refused_unread():
    sender = Sender(bytes(200))
    assert code_of(read(body(sender, content_length="200"))) is Code.REQUEST_TOO_LARGE
    assert sender.asked == 0


def test_a_body_that_states_less_or_nothing_is_counted_as_it_comes():
    for headers in ({}, {"content_length": "nonsense"}):
        sender = Sender(*[bytes(30)] * 10)
        assert code_of(read(body(sender, **headers))) is Code.REQUEST_TOO_LARGE
        assert sender.asked == 4


def test_all_of_a_body_has_its_time():
    assert code_of(read(body(Sender(b"a", ends=False), seconds=0.05))) is Code.REQUEST_TIMEOUT


def test_bodies_of_others_may_have_taken_the_memory():
    admission = Admission(10, 10)
    admission.take_body(8, 0)
    assert code_of(read(body(Sender(bytes(9)), admission=admission))) is Code.QUEUE_FULL


def test_what_is_still_sent_of_a_refused_body_is_read_and_dropped():
    admission = Admission(10, 1000)
    sender = Sender(*[bytes(30)] * 3)
    refused = body(sender, content_length="90", admission=admission)
    asyncio.run(refused.drop_rest())
    assert (sender.pieces, admission.bodies) == ([], 0)


def test_no_more_than_a_body_may_have_is_dropped():
    sender = Sender(*[bytes(30)] * 100)
    asyncio.run(body(sender, content_length="3000").drop_rest())
    assert sender.asked == 4


def test_a_client_that_waits_to_be_asked_is_not_asked():
    sender = Sender(bytes(30))
    asyncio.run(body(sender, content_length="30", expect="100-Continue").drop_rest())
    assert sender.asked == 0
