"""What an object store answers instead of what it was asked for, as OSErrors.

The library for stores (obstore) tells what went wrong in words alone: the status and the store's
own code and message are read from them.
"""

import errno
import html
import re
from typing import NamedTuple

from birefcli.errors import printable
from birefcli.system.secrets import without_secrets

LONGEST = 300  # characters of a store's message
_STATUS = re.compile(r"status code: (\d{3}) ?([^:\n]*)(?::(.*))?", re.S)
_TAGS = re.compile(r"<(Code|Message)>\s*(.*?)\s*</\1>", re.S)
_JSON = re.compile(r'"(?:error_description|message)"\s*:\s*"([^"]*)"')
_CAUSE = re.compile(r'\b(?:message|error): "([^"]+)"')
_KIND = re.compile(r"\bkind: (Connect|Interrupted|Timeout)\b")
_PLAIN = re.compile(
    r"(?:Could not parse path|Generic \w+ error|Encountered object with invalid path): (.*)", re.S
)
# Machines of the clouds ask these for credentials, where nothing else has any.
_METADATA = re.compile(r"169\.254\.169\.254|metadata\.google|fd00:ec2::254|169\.254\.170\.")
_CONFLICTS = ("ConditionalRequestConflict", "OperationAborted")  # of two writers at one moment
_SLOW = ("RequestTimeout", "SlowDown", "ServerBusy", "InternalError", "OperationTimedOut")
_NO_SPACE = 507
_KINDS = {
    "Connect": "cannot be reached",
    "Interrupted": "the connection was lost",
    "Timeout": "does not answer",
}


class ObjectError(OSError):
    """A store refuses or fails. ``strerror`` is its own word, ``filename`` the URL."""

    code = ""
    """The store's own code, like ``NoSuchBucket``."""
    status = 0
    """Of HTTP; 0 where there was no answer."""
    is_transient = False
    """Whether the same request may do better a little later."""
    is_unreachable = False
    """Whether nothing could be asked at all."""


class ObjectNotFoundError(ObjectError, FileNotFoundError):
    """No such object, or no such bucket."""


class ObjectDeniedError(ObjectError, PermissionError):
    """Whoever asks may not, or is not known."""


class ObjectExistsError(ObjectError, FileExistsError):
    """An object that was to be created is there."""


class ObjectChangedError(ObjectError):
    """An object is no longer the one that was listed."""


class ObjectTimeoutError(ObjectError, TimeoutError):
    """A store did not do it in time, however often it was asked."""


_CLASSES: dict[int, type[ObjectError]] = {
    errno.ENOENT: ObjectNotFoundError,
    errno.EACCES: ObjectDeniedError,
    errno.EEXIST: ObjectExistsError,
    errno.ESTALE: ObjectChangedError,
    errno.ETIMEDOUT: ObjectTimeoutError,
}


def object_error(number: int, word: str, url: str) -> ObjectError:
    """An error of a store by its ``errno``."""
    return _CLASSES.get(number, ObjectError)(number, word, url)


class _Answer(NamedTuple):
    status: int
    """0 where none came."""
    code: str
    word: str
    """Of the store, in one line."""


def is_panic(error: BaseException) -> bool:
    """Whether the library, which is written in Rust, has broken off: no Exception of Python's."""
    return type(error).__name__ == "PanicException"


def translated(error: BaseException, url: str, credentials: str) -> ObjectError:
    """What an exception of obstore's means.

    ``credentials``: what to do where none are found.
    """
    if is_panic(error):
        text = f"obstore broke off ({one_line(str(error))}); check the endpoint and the credentials"
        return object_error(errno.EINVAL, text, url)
    text, _, details = str(error).partition("\n\nDebug source:")
    answer = _answer(text, details)
    if _METADATA.search(text) and not isinstance(error, FileNotFoundError):
        found = object_error(errno.EACCES, f"no credentials were found; {credentials}", url)
        found.is_unreachable = found.is_transient = _KIND.search(details) is not None
        return found
    kind = _KIND.search(details) if answer.status == 0 else None
    found = object_error(_number(error, answer, kind is not None), answer.word, url)
    found.code, found.status = answer.code, answer.status
    found.is_transient = kind is not None or _is_transient(answer)
    found.is_unreachable = kind is not None and kind[1] == "Connect"
    return found


def _number(error: BaseException, answer: _Answer, lost: bool) -> int:
    """``errno`` of an exception of obstore's."""
    name = type(error).__name__
    if lost or _is_transient(answer):
        return errno.ETIMEDOUT
    if isinstance(error, FileNotFoundError) or answer.status == 404:
        return errno.ENOENT
    if name in ("PermissionDeniedError", "UnauthenticatedError") or answer.status in (401, 403):
        return errno.EACCES
    known = {
        "AlreadyExistsError": errno.EEXIST,
        "PreconditionError": errno.ESTALE,
        "NotSupportedError": errno.ENOTSUP,
        "NotImplementedError": errno.ENOTSUP,
        "InvalidPathError": errno.EILSEQ,  # a name in a listing
    }
    return known.get(name, errno.ENOSPC if answer.status == _NO_SPACE else errno.EINVAL)


def _is_transient(answer: _Answer) -> bool:
    if answer.code in (*_CONFLICTS, *_SLOW) or answer.status in (408, 429):
        return True
    return answer.status >= 500 and answer.status not in (501, 505, _NO_SPACE)


def _answer(text: str, details: str) -> _Answer:
    found = _STATUS.search(text)
    if found is None:
        return _Answer(0, "", one_line(_reason(text, details)))
    status, phrase, body = int(found[1]), found[2].strip(), found[3] or ""
    tags = dict(_TAGS.findall(body))
    code = html.unescape(tags.get("Code", ""))
    # Azure's messages end with lines that name the request.
    message = html.unescape(tags.get("Message", "")).partition("\n")[0]
    if code and message:
        return _Answer(status, code, one_line(f"{code}: {message}"))
    if status == 404 and not code:  # HEAD has no body
        return _Answer(status, "", "no such object (HTTP 404)")
    told = _JSON.search(body)
    word = code or f"HTTP {status} {phrase}".strip()
    return _Answer(status, code, one_line(f"{word}: {told[1]}" if told else word))


def _reason(text: str, details: str) -> str:
    """Why there was no answer."""
    kind = _KIND.search(details)
    cause = _CAUSE.search(details)
    if kind is not None:
        return _KINDS[kind[1]] + (f" ({cause[1]})" if cause else "")
    if "redirect without LOCATION" in text:
        return "the bucket is in another region; set AWS_REGION"
    plain = _PLAIN.match(text)
    return plain[1] if plain else text


def one_line(text: str) -> str:
    """A text as a message has it: no line break, no secret, and not for ever."""
    line = printable(without_secrets(" ".join(text.split())))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
