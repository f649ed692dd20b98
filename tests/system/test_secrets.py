"""Passwords and tokens are left out of what is shown."""

import pytest

from birefcli.system.secrets import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/a", "https://host/a"),
        ("no https://user@host:8443 there", "no https://host:8443 there"),
        ("'http://u:p@ss@host'", "'http://host'"),
        ("socks5h://a:b@1.2.3.4:9, HTTPS://C:D@E", "socks5h://1.2.3.4:9, HTTPS://E"),
        ("https://cdn/x?Signature=abc&Expires=1 failed", "https://cdn/x?*** failed"),
        ("(https://cdn/x?token=abc)", "(https://cdn/x?***)"),
        ("https://host/a@b#c", "https://host/a@b#c"),
        ("me@example.org wrote C:\\a", "me@example.org wrote C:\\a"),
        ("photo.jpg: is no image?", "photo.jpg: is no image?"),
    ],
)
def test_addresses_are_shown_without_users_passwords_and_queries(text, shown):
    assert without_secrets(text) == shown


def test_secrets_of_the_environment_are_left_out_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("HTTPS_PROXY", "me:pass%2Fword@proxy:3128")
    monkeypatch.setenv("all_proxy", "socks5://other:hidden-word@proxy")
    text = "Bearer hf_abcdefgh; me:pass%2Fword@proxy:3128; pass/word; hidden-word"
    assert without_secrets(text) == "Bearer ***; proxy:3128; ***; ***"


def test_words_that_are_no_secrets_stay(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    monkeypatch.setenv("HTTP_PROXY", "http://a:b@proxy")
    text = "localhost, https://mirror.example and a:b"
    assert without_secrets(text) == text
