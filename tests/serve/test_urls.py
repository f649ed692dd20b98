"""Which URLs are fetched, as far as their text tells."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birefcli.errors import UsageError
from birefcli.serve.urls import LONGEST, UrlError, UrlPolicy, UrlTarget

MALFORMED = [
    *("http://", "http:///a", "http://:80/", "http://a..b/", "http://.a/", "http://a../"),
    *(
        "http://a b/",
        "http://a\tb/",
        "http://a/\n",
        "http://a\x00/",
        "http://a%00/",
        "http://a\\b/",
    ),
    *("http://a\\@127.0.0.1", "http://%6c%6fcalhost/", "http://*/", "http://[::1", "http://[]/"),
    *("http://[1.2.3.4]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[v1.a]/"),
    *("http://127.0.0.256/", "http://0177.0.0.1/", "http://１２７.0.0.1/", "http://a:b/"),
    *("http://a:99999999999x/", "http://\ud800/", "http://a/\ud800", f"http://{'a' * 64}.com/"),
    *(f"http://{'a.' * 130}com/", "http://a<b>/", "http://a\u2028b/", "http://\u202ea/"),
]


@pytest.mark.parametrize("url", MALFORMED)
def test_malformed_urls_are_refused_in_one_line(url):
    with pytest.raises(UrlError) as refusal:
        UrlTarget.parse(url)
    assert str(refusal.value) in (
        "this is no valid URL",
        "a URL with a user or a password is not fetched",
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a/", "begins with http:// or https://"),
        ("file:///etc/passwd", "begins with http:// or https://"),
        ("data:image/png;base64,AAAA", "begins with http:// or https://"),
        ("//example.com/a", "begins with http:// or https://"),
        ("example.com/a", "begins with http:// or https://"),
        (" http://example.com/", "begins with http:// or https://"),
        ("", "begins with http:// or https://"),
        ("http://user@example.com/", "user or a password"),
        ("http://example.com@127.0.0.1/", "user or a password"),
        ("http://:word@example.com/", "user or a password"),
        ("http://example.com/" + "a" * LONGEST, "more than"),
    ],
)
def test_other_urls_are_refused(url, said):
    with pytest.raises(UrlError, match=said):
        UrlTarget.parse(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://Example.COM/a", "example.com", 80, "example.com"),
        ("https://example.com", "example.com", 443, "example.com"),
        ("https://example.com:443/", "example.com", 443, "example.com"),
        ("https://example.com:80/", "example.com", 80, "example.com:80"),
        ("http://example.com./", "example.com", 80, "example.com"),
        ("http://a_b.example.com:9000/", "a_b.example.com", 9000, "a_b.example.com:9000"),
        ("http://müller.example/", "xn--mller-kva.example", 80, "xn--mller-kva.example"),
        ("http://example。com/", "example.com", 80, "example.com"),
        ("http://127.1/", "127.0.0.1", 80, "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1", 80, "127.0.0.1"),
        ("http://127。0。0。1/", "127.0.0.1", 80, "127.0.0.1"),
        ("http://[2606:4700:0:0::1]:443/", "2606:4700::1", 443, "[2606:4700::1]:443"),
        ("http://@127.0.0.1/", "127.0.0.1", 80, "127.0.0.1"),
        ("http://127.0.0.1#@example.com/", "127.0.0.1", 80, "127.0.0.1"),
    ],
)
def test_host_and_port(url, host, port, authority):
    target = UrlTarget.parse(url)
    assert (target.host, target.port, target.authority) == (host, port, authority)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "http://example.com/b"),
        ("b?x", "http://example.com/a/b?x"),
        ("//other.test/b", "http://other.test/b"),
        ("https://other.test/b", "https://other.test/b"),
    ],
)
def test_redirects_may_be_relative(location, url):
    assert str(UrlTarget.parse("http://example.com/a/a").redirected(location).url) == url


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[x]/", "http://a@b/", "data:,"])
def test_redirects_are_judged_as_urls_are(location):
    with pytest.raises(UrlError):
        UrlTarget.parse("http://example.com/").redirected(location)


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://a.test/"]))
def test_any_text_is_a_target_or_refused(text, before):
    with suppress(UrlError):
        target = UrlTarget.parse(before + text)
        assert target.host.isascii()
        assert target.host.isprintable()
        again = UrlTarget.parse(str(target.url))
        assert (again.host, again.port) == (target.host, target.port)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "a,", "a,,b", "*", "*.", "**.a", "*a.test", "a.*", "public,a.test"),
        *("a,none", "http://a.test", "a.test/", "a.test/x", "a@b", "a b", "a:", "a:0", "a:65536"),
        *(
            "a:x",
            "a:80:80",
            "::1",
            "*.10.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "a?x",
            "a#x",
            "a\\b",
        ),
        *("fd00:ec2::254", "[fd00:ec2::254]", "[fe80::1%25eth0]", "*.127.1", "a..b", "-:1:2"),
    ],
)
def test_nonsense_is_no_policy(text):
    with pytest.raises(UsageError) as error:
        UrlPolicy.parse(text)
    assert error.value.option == "urls"
    assert error.value.value == text


def allowed(policy, url):
    try:
        UrlPolicy.parse(policy).check(UrlTarget.parse(url))
    except UrlError as refusal:
        return str(refusal)
    return True


@pytest.mark.parametrize(
    ("policy", "url"),
    [
        ("public", "https://example.com/a"),
        ("public", "http://8.8.8.8/"),
        ("public", "http://example.com:443/"),
        (" public ", "http://example.com"),
        ("store.test", "http://STORE.test./"),
        ("Store.Test.", "https://store.test/"),
        ("store.test:9000", "http://store.test:9000/"),
        ("store.test:9000", "https://store.test/"),
        ("store.test:9000,store.test:9001", "http://store.test:9001/"),
        ("*.example.com, store.test", "http://a.example.com/"),
        ("*.example.com", "http://a.b.example.com/"),
        ("*.example.com:9000", "http://a.example.com:9000/"),
        ("müller.example", "http://xn--mller-kva.example/"),
        ("127.0.0.1:9000", "http://127.1:9000/"),
        ("[::1]:9000", "http://[0::1]:9000/"),
        ("localhost:9000", "http://localhost:9000/"),
        ("10.0.0.5", "http://10.0.0.5/"),
    ],
)
def test_a_policy_allows(policy, url):
    assert allowed(policy, url) is True


@pytest.mark.parametrize(
    ("policy", "url", "said"),
    [
        ("none", "https://example.com/", "this server fetches no URLs: send the picture itself"),
        ("public", "http://example.com:8080/", "this server does not fetch from port 8080"),
        ("public", "http://example.com:0/", "this server does not fetch from port 0"),
        ("public", "http://localhost/", "localhost is not a public host"),
        ("public", "http://a.LOCALHOST./", "a.localhost is not a public host"),
        ("store.test", "http://other.test/", "this server does not fetch from other.test"),
        ("store.test", "http://8.8.8.8/", "this server does not fetch from 8.8.8.8"),
        ("store.test", "http://a.store.test/", "this server does not fetch from a.store.test"),
        ("store.test", "http://astore.test/", "this server does not fetch from astore.test"),
        ("store.test:9000", "http://store.test:9001/", "this server does not fetch from port 9001"),
        ("a.test:9000,b.test", "http://b.test:9000/", "this server does not fetch from port 9000"),
        ("*.example.com", "http://example.com/", "this server does not fetch from example.com"),
        ("*.example.com", "http://xexample.com/", "this server does not fetch from xexample.com"),
        ("10.0.0.5", "http://10.0.0.6/", "this server does not fetch from 10.0.0.6"),
    ],
)
def test_a_policy_refuses(policy, url, said):
    assert allowed(policy, url) == said


def test_private_addresses_are_for_hosts_that_are_named():
    assert not UrlPolicy.parse("public").permits("10.0.0.5")
    assert UrlPolicy.parse("store.test").permits("10.0.0.5")
    assert UrlPolicy.parse("store.test").permits("8.8.8.8")
    assert not UrlPolicy.parse("store.test").permits("169.254.169.254")
