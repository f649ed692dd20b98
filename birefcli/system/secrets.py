"""Passwords and tokens are no part of what is shown.

They come in addresses (``https://user:password@host``, a signed ``?token=``), which users set in
variables and which libraries put into the texts of their errors.
"""

import os
import re

_ADDRESS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^\s'\"<>]*)")
_USER = re.compile(r"^[^/?#]*@")
_QUERY = re.compile(r"\?[^#),;\]]*")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_ADDRESSES = re.compile("(?i)(https?|all)_proxy|hf_endpoint")
_SHORTEST = 6  # characters: whatever is shorter may stand in any text


def without_secrets(text: str) -> str:
    """The text without users, passwords and queries of addresses, and without known secrets.

    Known are those in the variables of the environment for tokens, proxies and the Hub, wherever in
    the text they stand.
    """
    text = _ADDRESS.sub(lambda found: found[1] + _QUERY.sub("?***", _USER.sub("", found[2])), text)
    for secret in sorted(_known(), key=len, reverse=True):
        text = text.replace(secret, "" if secret.endswith("@") else "***")
    return text


def _known() -> set[str]:
    found = {os.environ.get(name, "") for name in _TOKENS}
    for name, value in os.environ.items():
        if "@" in value and _ADDRESSES.fullmatch(name):  # with or without its https://
            user = value.rpartition("@")[0].rpartition("//")[2]
            found |= {f"{user}@", *_spellings(user), *_spellings(user.partition(":")[2])}
    return {secret for secret in found if len(secret) >= _SHORTEST}


def _spellings(secret: str) -> set[str]:
    from urllib.parse import quote, unquote  # slow to import, and few addresses have a password

    return {secret, unquote(secret), quote(unquote(secret), safe="")}
