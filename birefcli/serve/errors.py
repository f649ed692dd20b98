"""How a request fails: a status, and the words each dialect puts into its own shape."""

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus

from birefcli.errors import Message, Option, printable
from birefcli.products.words import NAMES

LONGEST = 1000
"""Letters of a message, in which a client's words may be."""


class Code(Enum):
    """What went wrong, as OpenAI's clients read it: ``code``, ``status`` and ``type``."""

    MISSING_IMAGE = "missing_image", HTTPStatus.BAD_REQUEST
    TOO_MANY_IMAGES = "too_many_images", HTTPStatus.BAD_REQUEST
    INVALID_IMAGE = "invalid_image", HTTPStatus.BAD_REQUEST
    IMAGE_TOO_LARGE = "image_too_large", HTTPStatus.BAD_REQUEST
    INVALID_VALUE = "invalid_value", HTTPStatus.BAD_REQUEST
    URL_NOT_ALLOWED = "url_not_allowed", HTTPStatus.BAD_REQUEST
    URL_FAILED = "url_failed", HTTPStatus.BAD_REQUEST
    INVALID_API_KEY = "invalid_api_key", HTTPStatus.UNAUTHORIZED
    ORIGIN_NOT_ALLOWED = "origin_not_allowed", HTTPStatus.FORBIDDEN
    MODEL_NOT_FOUND = "model_not_found", HTTPStatus.NOT_FOUND
    NOT_FOUND = "not_found", HTTPStatus.NOT_FOUND
    METHOD_NOT_ALLOWED = "method_not_allowed", HTTPStatus.METHOD_NOT_ALLOWED
    REQUEST_TIMEOUT = "request_timeout", HTTPStatus.REQUEST_TIMEOUT
    REQUEST_TOO_LARGE = "request_too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    QUEUE_FULL = "queue_full", HTTPStatus.TOO_MANY_REQUESTS
    INTERNAL = "internal", HTTPStatus.INTERNAL_SERVER_ERROR
    NOT_READY = "not_ready", HTTPStatus.SERVICE_UNAVAILABLE
    DRAINING = "draining", HTTPStatus.SERVICE_UNAVAILABLE
    TIMEOUT = "timeout", HTTPStatus.SERVICE_UNAVAILABLE
    OUT_OF_MEMORY = "out_of_memory", HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, word: str, status: HTTPStatus) -> None:
        self.word, self.status = word, status

    @property
    def type(self) -> str:
        """OpenAI's class of errors."""
        if self is Code.QUEUE_FULL:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"


class RequestError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        code: Code,
        message: str,
        param: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``message``: without paths or addresses of this machine; it becomes one line of text,
        whatever a client's words in it are. ``param``: the field that is at fault;
        ``retry_after``: seconds after which another try makes sense; ``headers``: what HTTP wants
        to be said besides.
        """
        self.code, self.message = code, printable(message[:LONGEST])
        self.param = None if param is None else printable(param[:LONGEST])
        super().__init__(self.message)
        self.retry_after = retry_after
        self.headers = {} if headers is None else headers


def in_words(message: Message) -> str:
    """A sentence that may name options: fields of a request, or those of who runs the service."""
    return message.spelled(_spelled)


def _spelled(option: Option) -> str:
    if option.name in NAMES:
        return str(option)
    name = "--" + option.name.replace("_", "-")
    return name if option.value is None else f"{name} {option.value}"
