"""Which URLs a client may have fetched, as far as their text tells: nothing is asked here."""

import re
from dataclasses import dataclass
from typing import Final

import httpx2

from birefcli.errors import UsageError
from birefcli.serve.addresses import Reach, literal, reach

LONGEST = 8192
"""Characters of a URL: signed ones have some two thousand."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_LONGEST_NAME = 253  # RFC 1035
_NAMES_OTHER_PARTS = re.compile(r"[/?#@\s\\]|:$")
_ADVICE = "give public, none, or hosts such as photos.example.com,*.example.com,10.0.0.5:9000"


class UrlError(Exception):
    """A URL that is not fetched, whatever lies there. The text is one line for the client."""


@dataclass(frozen=True)
class UrlTarget:
    """Where a URL leads. What judges it and what connects read the same parts."""

    url: httpx2.URL
    host: str
    """Lower case, ASCII (IDNA), without a dot at the end; an address in its usual notation."""
    port: int

    @classmethod
    def parse(cls, text: str) -> "UrlTarget":
        """Read a whole URL.

        :raises UrlError: if it is malformed, of another scheme, or has a user.
        """
        if len(text) > LONGEST:
            raise UrlError(f"the URL has more than {LONGEST} characters")
        try:
            return cls._of(httpx2.URL(text))
        except (httpx2.InvalidURL, ValueError):  # of which is what IDNA and surrogates raise
            raise UrlError("this is no valid URL") from None

    def redirected(self, location: str) -> "UrlTarget":
        """Where an answer from here sends: ``location`` may be relative.

        :raises UrlError: as :meth:`parse`.
        """
        try:
            joined = str(self.url.join(location))
        except (httpx2.InvalidURL, ValueError):
            raise UrlError("this is no valid URL") from None
        return self.parse(joined)

    @classmethod
    def _of(cls, url: httpx2.URL) -> "UrlTarget":
        default = _DEFAULT_PORTS.get(url.scheme)
        if default is None:
            raise UrlError("a URL begins with http:// or https://")
        if url.userinfo:
            raise UrlError("a URL with a user or a password is not fetched")
        return cls(url, _host(url), default if url.port is None else url.port)

    @property
    def is_address(self) -> bool:
        """Whether the host is an address, and no name."""
        return literal(self.host) is not None

    @property
    def authority(self) -> str:
        """Host and port as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == _DEFAULT_PORTS[self.url.scheme]
        return host if usual else f"{host}:{self.port}"


def _host(url: httpx2.URL) -> str:
    """The host as it is compared, resolved, and verified by TLS; raises ValueError for none."""
    host = url.raw_host.decode("ascii").removesuffix(".")
    address = literal(host)
    if address is not None and "%" not in host:  # a zone: of one machine's own links
        return address
    if len(host) > _LONGEST_NAME or not _HOST_NAME.fullmatch(host):
        raise ValueError(host)
    return host


@dataclass(frozen=True)
class _Host:
    """One host the operator names, or with ``*.`` all below it."""

    name: str
    below: bool = False
    port: int = 80
    """One more beside 80 and 443."""

    @classmethod
    def parse(cls, text: str) -> "_Host":
        """Read ``HOST[:PORT]``; raises ValueError or UrlError."""
        name = text.removeprefix("*.")
        if not name or _NAMES_OTHER_PARTS.search(name):
            raise ValueError(text)
        target = UrlTarget.parse(f"http://{name}")
        below = name != text
        never = target.is_address and (below or reach(target.host) is Reach.NEVER)
        if never or not 0 < target.port < 65536:
            raise ValueError(text)
        return cls(target.host, below, target.port)

    def matches(self, host: str) -> bool:
        """Whether this is the host of a URL."""
        return host.endswith(f".{self.name}") if self.below else host == self.name


@dataclass(frozen=True)
class UrlPolicy:
    """What the operator lets clients have fetched: anything public, nothing, or from some hosts."""

    public: bool
    hosts: tuple[_Host, ...] = ()
    """The only ones, if there are any; they may have private addresses."""

    @classmethod
    def parse(cls, text: str) -> "UrlPolicy":
        """Read ``public``, ``none`` or ``HOST[:PORT],*.example.com,…``.

        :raises UsageError: if it is none of them.
        """
        if text.strip() in ("public", "none"):
            return cls(public=text.strip() == "public")
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if word in ("public", "none"):
                raise UsageError(f"give {word} alone", option="urls", value=text)
        try:
            return cls(public=False, hosts=tuple(map(_Host.parse, words)))
        except (ValueError, UrlError):
            raise UsageError(_ADVICE, option="urls", value=text) from None

    def check(self, target: UrlTarget) -> None:
        """Judge a URL by its text.

        :raises UrlError: if it is not fetched, whatever its host's name resolves to.
        """
        if not self.public and not self.hosts:
            raise UrlError("this server fetches no URLs: send the picture itself")
        named = [host for host in self.hosts if host.matches(target.host)]
        if not self.public and not named:
            raise UrlError(f"this server does not fetch from {target.host}")
        if target.port not in (80, 443, *(host.port for host in named)):
            raise UrlError(f"this server does not fetch from port {target.port}")
        if target.is_address and not self.permits(target.host):
            raise UrlError(f"{target.host} is not a public address")
        if self.public and (target.host == "localhost" or target.host.endswith(".localhost")):
            raise UrlError(f"{target.host} is not a public host")

    def permits(self, address: str) -> bool:
        """Whether to connect to an address that a checked URL's host has."""
        return reach(address) in (Reach.PUBLIC, *([Reach.PRIVATE] if self.hosts else []))
