"""Which addresses a client may make the server talk to."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birefcli.serve.addresses import Reach, literal, reach, resolve

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::200e"]
PRIVATE = [
    *("127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fdff::1"),
]
NEVER = [
    *("0.0.0.0", "0.0.0.5", "169.254.1.1", "169.254.169.254", "169.254.170.2"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    *("192.0.0.1", "192.0.0.9", "192.0.0.170", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
    *("192.88.99.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255", "::", "::2", "::7f00:1", "100::1", "fec0::1", "fe80::1"),
    *("fe80::a9fe:a9fe", "fe80::1%eth0", "fd00:ec2::254%1", "ff02::1", "ff0e::1", "4000::1"),
    *("2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1::1", "2001:db8::1", "3fff::1"),
    *("2002:7f00:1::", "2002:808:808::", "64:ff9b:1::1", "64:ff9b:1::808:808", "5f00::1"),
    *("::8.8.8.8", "::ffff:0:8.8.8.8"),  # IPv4-compatible, IPv4-translated
]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((address, Reach.PUBLIC) for address in PUBLIC),
        *((address, Reach.PRIVATE) for address in PRIVATE),
        *((address, Reach.NEVER) for address in NEVER),
    ],
)
def test_reach(address, expected):
    assert reach(address) is expected


fours = st.one_of(
    st.ip_addresses(v=4),
    st.sampled_from([a for a in [*PUBLIC, *PRIVATE, *NEVER] if "." in a and ":" not in a]).map(
        ipaddress.IPv4Address
    ),
)


@given(fours)
def test_an_ipv4_address_inside_an_ipv6_one_counts_as_itself(four):
    for carrier in ("::ffff:0:0", "64:ff9b::"):
        six = ipaddress.IPv6Address(int(ipaddress.IPv6Address(carrier)) | int(four))
        assert reach(str(six)) is reach(str(four))


@given(fours)
def test_tunnels_lead_nowhere(four):
    number = int(four)
    for base, shift in (("2002::", 80), ("2001::", 64), ("2001::", 0), ("::", 0)):
        six = ipaddress.IPv6Address(int(ipaddress.IPv6Address(base)) | number << shift)
        assert reach(str(six)) is not Reach.PUBLIC


@given(st.ip_addresses())
def test_no_address_is_public_that_python_does_not_call_global(ip):
    if ip.version == 4 or not (ip.ipv4_mapped or str(ip).startswith("64:ff9b::")):
        assert reach(str(ip)) is not Reach.PUBLIC or (ip.is_global and not ip.is_multicast)


def test_what_is_no_address_is_an_error():
    with pytest.raises(ValueError, match="localhost"):
        reach("localhost")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001"])
def test_every_notation_the_system_reads_is_an_address(host):
    assert literal(host) == "127.0.0.1"


@pytest.mark.parametrize("host", ["localhost", "example.com", "1.2.3.4.5", "", "127.0.0.1x"])
def test_names_are_none(host):
    assert literal(host) is None


def test_the_system_resolves_names_once_for_each_address():
    addresses = resolve("localhost", 80)
    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert len(set(addresses)) == len(addresses) > 0


def test_names_are_resolved_for_tcp_only(monkeypatch):
    asked = {}

    def getaddrinfo(host, port, **how):
        asked.update(how)
        return [(socket.AF_INET, 1, 6, "", ("8.8.8.8", port))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert resolve("example.com", 443) == ["8.8.8.8"]
    assert asked["type"] is socket.SOCK_STREAM
