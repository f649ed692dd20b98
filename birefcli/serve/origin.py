"""Whose web pages may ask a service without keys: its own, and those that the user names.

A browser sends what any page asks it to send, also to a service that listens on its own machine
alone. It says whose page asks: in ``Sec-Fetch-Site`` and ``Origin`` (Fetch standard). Programs say
nothing of the kind, and go on. Where a page's own name has been made to lead to this machine (DNS
rebinding), the page is of the service's own origin; it is known by the name in ``Host``.
"""

import ipaddress
from collections.abc import Mapping
from contextlib import suppress

from birefcli.serve.errors import Code, RequestError
from birefcli.serve.settings import ServeOptions

PRIVATE = (".localhost", ".internal")
"""Ends of names that nobody can register (RFC 6761; ICANN, 2024)."""
PORTS = (":80", ":443")
"""Of which browsers name neither, each with its scheme."""


def check_origin(headers: Mapping[str, str], options: ServeOptions) -> None:
    """See that no page of another site asks; for a service without keys. Raises RequestError.

    ``headers``: of the request, by their names in lower case.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if "*" in options.cors or origin in options.cors:
        return
    host = headers.get("host", "").lower()
    names = options.host_names
    if names is not None and _may_be_of_others(name := _name(host), names, options.cors):
        raise _refused(f"{name[:80]} is no name of this server: ask localhost, or its address")
    if site == "same-origin":  # also where a proxy asks by another name
        return
    if site == "cross-site" or (origin is not None and _place(origin) != _without_port(host)):
        raise _refused(
            "pages of other sites may not ask here without a key, but for those that the server's"
            " cors names"
        )


def _refused(text: str) -> RequestError:
    return RequestError(Code.ORIGIN_NOT_ALLOWED, text)


def _may_be_of_others(name: str, names: tuple[str, ...], cors: tuple[str, ...]) -> bool:
    """Whether this name of a host is one that a stranger could have registered.

    Addresses are none, nor is a name without a dot, which no public domain is.
    """
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return False
    ours = {*names, *(_name(_place(origin)) for origin in cors)}
    return "." in name and not name.endswith(PRIVATE) and name not in ours


def _place(origin: str) -> str:
    """An origin without its scheme; what is none, as ``null``, as it is."""
    return _without_port(origin.lower().partition("://")[2] or origin)


def _without_port(host: str) -> str:
    """A host and its port, unless that goes without saying."""
    return next((host.removesuffix(port) for port in PORTS if host.endswith(port)), host)


def _name(host: str) -> str:
    """The name alone, without port, brackets and the dot of the root."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")
