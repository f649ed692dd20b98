"""A request's body as it comes in: how much of it, how slowly, and what others hold meanwhile."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from birefcli.errors import Message as Text
from birefcli.errors import Option
from birefcli.serve.admission import Admission
from birefcli.serve.errors import Code, RequestError, in_words

BODY_SECONDS = 30.0
LINGER_SECONDS = 5.0
"""A refused body is read on for so long, and dropped: who still sends hears no answer."""
FREE_PIECES, MEAN_PIECE = 10_000, 512
"""Pieces of a body that may be of any size, and then bytes a piece: a body in single bytes keeps
this process from answering others."""


class Body:
    """A request's body as it comes in, within limits."""

    def __init__(
        self,
        receive: Receive,
        headers: Headers,
        limit: int,
        admission: Admission,
        seconds: float = BODY_SECONDS,
    ) -> None:
        """``limit``: in bytes; ``seconds``: for all of it."""
        self._receive, self._limit, self._admission = receive, limit, admission
        self._deadline = time.monotonic() + seconds
        length = headers.get("content-length", "")
        self._stated = int(length) if length.isascii() and length.isdigit() else None
        self._waits = headers.get("expect", "").lower() == "100-continue"
        self._ended = self._stated == 0
        self.size = 0
        """Bytes so far."""
        self._counted = self._pieces = 0

    async def receive(self) -> Message:
        """The next message. Raises RequestError for a body that is too large or too slow."""
        if self._ended:
            return await self._receive()
        if self._stated is not None and self._stated > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self._deadline = 0.0
            raise RequestError(Code.REQUEST_TIMEOUT, "the body came too slowly") from None
        if message["type"] != "http.request":
            self._ended = True
            return message
        part = len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        self.size += part
        self._pieces += 1
        if self._pieces > FREE_PIECES and self.size < self._pieces * MEAN_PIECE:
            raise RequestError(Code.INVALID_VALUE, "the body comes in tiny pieces")
        if self.size > self._limit:
            raise self._too_large()
        self._admission.take_body(part, self._counted)
        self._counted += part
        return message

    async def drop_rest(self) -> None:
        """Read what is still sent of a refused body, for a while, and keep nothing of it.

        A client that waits to be asked for its body sends none.
        """
        left = self._limit
        if self._ended or (self._waits and not self.size) or not self._deadline:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        self._ended = True
                        return
        except TimeoutError:
            pass

    def give_up(self) -> None:
        """Wait for nothing more of it."""
        self._ended = True

    def close(self) -> None:
        """Its bytes are no longer held."""
        self._admission.drop_body(self._counted)
        self._counted = 0

    def _too_large(self) -> RequestError:
        text = (
            f"the body has more than {self._limit / 1e6:g} MB: send a smaller file, such as a JPEG"
        )
        raised = "; whoever runs the service may raise ", Option("max_body")
        return RequestError(Code.REQUEST_TOO_LARGE, in_words(Text(text, *raised)))
