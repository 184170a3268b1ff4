"""Text that may be shown and passed on: addresses without secrets, no control characters.

An address may hold a password, a signature or a token in many forms. So everything in its query is
replaced but the values of parameters that are known to be harmless.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

HARMLESS_PARAMETERS = frozenset(
    {
        "bands",
        "bbox",
        "collection",
        "collections",
        "datasource",
        "datetime",
        "f",
        "format",
        "ids",
        "item",
        "limit",
        "maxcloudcover",
        "mincloudcover",
        "offset",
        "page",
        "pagesize",
        "sort",
        "sortby",
        "versionid",
    }
)
"""Parameters whose values are shown, in lower case: those of searches, and versions of objects."""

SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CDSE_S3_SECRET_KEY",
    "CLOUDBUSTER_RF_REFRESH_TOKEN",
    "PC_SDK_SUBSCRIPTION_KEY",
)
"""Environment variables whose values are hidden wherever they occur."""

# Shorter values are no secrets, and would be found in innocent words.
_LEAST_SECRET_LENGTH = 8
# What ends a word of a text. A comma, a semicolon or a bracket may be a part of an address.
_END = r"\s\"'<>`"
_WORD = re.compile(rf"[^{_END}]+")
# The end of a sentence is no part of an address.
_SENTENCE_END = re.compile(r"(?:[:;,.!)\]}]|\\)+$")
# User and password before a host. A password may contain @ and, by mistake, a slash.
_USER = re.compile(r"(//)(?:[^/?#]*@|[^/?#@]*:(?!\d*(?:[/?#]|$))[^?#@]*@)")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.,:/+-]{0,128}")
# Words of a name whose value is secret. The rest of a name is bounded, to keep the search linear.
_SECRET_WORD = (
    r"(?:secret|passw(?:or)?d|signature|api[_-]?key|token|"  # noqa: S105 -- a pattern of names
    r"(?:access|account|private|subscription|shared|client)[_-]?key)"
)
_SECRET_NAME = rf"(?:{_SECRET_WORD}[\w.-]{{0,40}}|\bsig|\bauth)"
_SECRET_MEMBER = re.compile(
    rf"(?i){_SECRET_WORD}|(?:^|[_-])(?:sig|auth)(?:$|[_-])|authorization|cookie"
)
_HEADER = r"(?:authorization|cookie|x-amz-security-token|x-api-key|ocp-apim-subscription-key)"
_VALUE = rf"(?!\*\*\*)[^{_END}&,;\\]{{4,}}"
# Tokens outside of addresses, and a word that a text with one of them contains: HTTP
# authentication, JSON Web Tokens, access keys of AWS, and values after names that say that they
# are secret, in text, JSON and headers.
_NAMED = ("secret", "passw", "signature", "key", "token", "sig", "auth", "cookie")
_TOKENS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (
        ("bearer", "basic", "digest", "negotiate"),
        re.compile(r"(?i)\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=-]{6,}"),
        rf"\1 {HIDDEN}",
    ),
    (("eyj",), re.compile(r"\beyJ[\w-]{6,}(?:\.[\w-]+){1,2}"), HIDDEN),
    (
        ("akia", "asia", "agpa", "aroa", "aida"),
        re.compile(r"\b(A(?:KIA|SIA|GPA|ROA|IDA))[A-Z0-9]{12,}\b"),
        rf"\1{HIDDEN}",
    ),
    (_NAMED, re.compile(rf"(?i)({_SECRET_NAME}\s?=\s?\\?[\"']?){_VALUE}"), rf"\1{HIDDEN}"),
    (
        _NAMED,
        re.compile(rf"(?i)((?:{_SECRET_NAME}|{_HEADER})\\?[\"']\s?:\s?\\?[\"']){_VALUE}"),
        rf"\1{HIDDEN}",
    ),
    (_NAMED, re.compile(rf"(?im)(\b{_HEADER}\s?:\s?)(?!\*)\S[^\"'\r\n]*"), rf"\1{HIDDEN}"),
)
# Characters that move the cursor, colour or clear a terminal, or turn the order of text around:
# control characters (Unicode class Cc) but tab and newline, and what changes direction or breaks
# lines (Unicode Standard Annex 9, UTR 36).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_remembered: set[str] = set()


def keep_secret(value: str) -> None:
    """Hide ``value`` from now on wherever it occurs in a text that is `redacted`."""
    if len(value) >= _LEAST_SECRET_LENGTH:
        _remembered.add(value)


def redacted(text: str) -> str:
    """Return a text without the secrets in it.

    Parameters
    ----------
    text : str
        A message, an address, or JSON.

    Returns
    -------
    str
        In each address, user and password are replaced, and so are the values of all parameters
        but those in `HARMLESS_PARAMETERS`. Tokens, keys and the values of `SECRET_VARIABLES` are
        replaced anywhere. Quotes stay as they are, so that JSON stays JSON.
    """
    for secret in (*_remembered, *(os.environ.get(name, "") for name in SECRET_VARIABLES)):
        if len(secret) >= _LEAST_SECRET_LENGTH and secret in text:
            text = text.replace(secret, HIDDEN)
    if "?" in text or "@" in text or "#" in text:
        text = _WORD.sub(_without_secrets, text)
    lower = text.lower()
    for words, pattern, shown in _TOKENS:
        if any(word in lower for word in words):
            text = pattern.sub(shown, text)
    return text


def redacted_json(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """Return a JSON value in which every text is `redacted`, names of members excepted.

    The text of a member whose name says that it is secret is replaced whole.
    """
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {
            name: HIDDEN
            if isinstance(member, str) and member and _SECRET_MEMBER.search(str(name))
            else redacted_json(member)
            for name, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_json(member) for member in value]
    return value


def visible(text: str) -> str:
    r"""Return a text with control characters and marks of direction as escapes, as ``\u202e``.

    Tabs and line breaks stay.
    """
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _without_secrets(word: re.Match[str]) -> str:
    """Replace the secrets of an address, or of a name with a query; other words are returned."""
    text = word[0]
    if "?" not in text and "//" not in text:
        return text
    sentence_end = _SENTENCE_END.search(text)
    rest = sentence_end[0] if sentence_end else ""
    head, mark, query = text[: len(text) - len(rest)].partition("?")
    fragment_mark = ""
    if "http" in head[:80].lower():  # In S3 a key may contain a #.
        head, fragment_mark, _ = head.partition("#")
    head = _USER.sub(rf"\1{HIDDEN}@", head)
    if fragment_mark:
        return f"{head}#{HIDDEN}{rest}"
    if not mark:
        return head + rest
    query, fragment_mark, _ = query.partition("#")
    shown = "&".join(_shown_parameter(part) for part in query.split("&"))
    return f"{head}?{shown}{fragment_mark and f'#{HIDDEN}'}{rest}"


def _shown_parameter(text: str) -> str:
    """Replace the value of ``name=value`` unless it is harmless; a bare value is replaced whole."""
    name, _, value = text.partition("=")
    if not text:
        return text
    # A bare token may end with equals signs, as base64 does.
    if not value.strip("=") or not _PLAIN_NAME.fullmatch(name):
        return HIDDEN
    is_harmless = name.lower() in HARMLESS_PARAMETERS and _PLAIN_VALUE.fullmatch(value)
    return text if is_harmless else f"{name}={HIDDEN}"
