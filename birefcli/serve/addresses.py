"""Addresses on the network: which of them a client may make this server talk to.

The lists are our own, so that every version of Python judges alike: ``is_global`` of 3.11.7 has
2002::/16 and most of 192.0.0.0/24 as global, later ones have not. What a newer Python knows of
IANA's registries of special addresses counts besides.
"""

import socket
from enum import Enum, auto
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Reach(Enum):
    """Who can be at an address."""

    PUBLIC = auto()
    """Anybody on the internet."""
    PRIVATE = auto()
    """This machine or its neighbours: fetched from only where the operator names the host."""
    NEVER = auto()
    """No store of photos: what tells a machine its secrets, groups, tunnels, reserved ones."""


def reach(address: str) -> Reach:
    """Who can be at an IPv4 or IPv6 address; one that carries an IPv4 address counts as that.

    :raises ValueError: if it is no address.
    """
    ip = _destination(ip_address(address))
    if ip in _METADATA:
        return Reach.NEVER
    if _within(ip, _PRIVATE):
        return Reach.PRIVATE
    unicast = isinstance(ip, IPv4Address) or ip in _IPV6_UNICAST
    if unicast and ip.is_global and not _within(ip, _SPECIAL):
        return Reach.PUBLIC
    return Reach.NEVER


def literal(host: str) -> str | None:
    """The address that ``host`` spells, as this system reads it; None: it is a name.

    Systems read 127.1, 0x7f.1 and 2130706433 as 127.0.0.1. Nothing is asked on the network.
    """
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return str(ip_address(found[0][4][0]))


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, the likeliest to answer first; asked of the system, which may wait.

    :raises OSError: if there are none.
    """
    # An IPv6 address is no use where this machine has none itself.
    flags = getattr(socket, "AI_ADDRCONFIG", 0)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _destination(ip: Address) -> Address:
    """Where packets to an address end: an IPv6 address may stand for an IPv4 one."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    bare = IPv6Address(int(ip))  # without a zone, which is compared as well
    return IPv4Address(int(bare) & 0xFFFFFFFF) if bare in _NAT64 else bare


def _within(ip: Address, networks: tuple[Network, ...]) -> bool:
    return any(ip in network for network in networks)


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


_IPV6_UNICAST = IPv6Network("2000::/3")
"""All that IANA gives out of IPv6: what is outside has a special use or none yet."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: how a network without IPv4 reaches IPv4 addresses, the last 32 bits."""

_PRIVATE = _networks(
    "10.0.0.0/8",  # RFC 1918
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",  # RFC 6598, behind a provider's NAT; clusters and overlay networks use it
    "127.0.0.0/8",
    "::1/128",
    "fc00::/7",  # RFC 4193
)

_SPECIAL = _networks(
    "0.0.0.0/8",  # "this host": the kernel takes it as the loopback
    "169.254.0.0/16",  # link-local: most clouds' metadata are here
    "192.0.0.0/24",  # IETF protocols
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # relays of 6to4, RFC 7526
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "2001::/23",  # IETF protocols: Teredo, which carries an IPv4 address; ORCHID; benchmarks
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4, which carries an IPv4 address; RFC 7526 ended it
    "3fff::/20",  # documentation
)

_METADATA = frozenset(
    map(
        ip_address,
        (
            "168.63.129.16",  # Azure's, a public address by its number
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where a machine in a cloud asks for its own credentials, beside 169.254.0.0/16."""
