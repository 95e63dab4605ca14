"""The values of the ``format`` keyword, as patterns that match nothing else.

Where a format has no bound (a host name of six labels, a long mail address), the pattern sets one, so
that a model cannot go on for ever: every string of these patterns has the format, not the other way round.
"""

from __future__ import annotations

__all__ = ["ANNOTATION_FORMATS", "NUMBER_FORMATS", "PATTERNS", "STRUCTURED", "WIDE_PATTERNS"]

_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_LEAP = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAYS = (
    r"(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8])"
)
_DATE = rf"(?:{_YEAR}-(?:{_DAYS})|{_LEAP}-02-29)"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?"
_TIME = rf"{_CLOCK}(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
# No two hyphens beside each other: in the third and fourth place they announce an encoded name.
_LABEL = r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,20}"
_TLD = r"[A-Za-z]{2,18}"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,5}}"
_DOMAIN = rf"(?:{_LABEL}\.){{1,4}}{_TLD}"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_EMAIL = rf"{_ATOM}{{1,21}}(?:\.{_ATOM}{{1,20}}){{0,2}}@{_DOMAIN}"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_H16 = r"[0-9A-Fa-f]{1,4}"
_LS32 = rf"(?:{_H16}:{_H16}|{_IPV4})"
_IPV6 = "|".join(
    [
        rf"(?:{_H16}:){{6}}{_LS32}",
        rf"::(?:{_H16}:){{5}}{_LS32}",
        rf"(?:{_H16})?::(?:{_H16}:){{4}}{_LS32}",
        rf"(?:(?:{_H16}:){{0,1}}{_H16})?::(?:{_H16}:){{3}}{_LS32}",
        rf"(?:(?:{_H16}:){{0,2}}{_H16})?::(?:{_H16}:){{2}}{_LS32}",
        rf"(?:(?:{_H16}:){{0,3}}{_H16})?::{_H16}:{_LS32}",
        rf"(?:(?:{_H16}:){{0,4}}{_H16})?::{_LS32}",
        rf"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
        rf"(?:(?:{_H16}:){{0,6}}{_H16})?::",
    ]
)
_N = r"\d{1,4}"
_DURATION_TIME = rf"T(?:{_N}H(?:{_N}M(?:{_N}S)?)?|{_N}M(?:{_N}S)?|{_N}S)"
_DURATION_DATE = rf"(?:{_N}Y(?:{_N}M(?:{_N}D)?)?|{_N}M(?:{_N}D)?|{_N}D)"
_ESCAPED = r"%[0-9A-Fa-f]{2}"
_IN_NAME = r"A-Za-z0-9._~!$&'()*+,;=\-"
_IN_PATH = rf"(?:[{_IN_NAME}:@/]|{_ESCAPED})"
_IN_QUERY = rf"(?:[{_IN_NAME}:@/?]|{_ESCAPED})"
_AUTHORITY = (
    rf"(?:(?:[{_IN_NAME}:]|{_ESCAPED})+@)?"
    rf"(?:[{_IN_NAME}]+|\[(?:{_IPV6})\])(?::\d{{1,5}})?"
)
_BEHIND = rf"(?:\?{_IN_QUERY}*)?(?:#{_IN_QUERY}*)?"
_SEGMENT = rf"(?:[{_IN_NAME}:@]|{_ESCAPED})"
_REST = rf"(?:(?:/{_IN_PATH}*)?{_BEHIND})"
_URI = (
    rf"[A-Za-z][A-Za-z0-9+.-]*:"
    rf"(?://{_AUTHORITY}{_REST}|///{_SEGMENT}{_IN_PATH}*{_BEHIND}|{_SEGMENT}{_IN_PATH}*{_BEHIND})"
)
_RELATIVE = (
    rf"(?:[{_IN_NAME}@]|{_ESCAPED})+{_REST}|/(?:{_SEGMENT}{_IN_PATH}*)?{_BEHIND}|"
    rf"[?#]{_IN_QUERY}*|"
)
_BASE64 = r"[A-Za-z0-9+/]"
_POINTER = r"(?:/(?:[^/~]|~[01])*)*"
_SIMPLE = r"(?:[A-Za-z0-9 _/@:,-]|\\[dwsDWS.\\/()+*?^$|]|\.|\[\^?(?:a-z|A-Z|0-9|[A-Za-z0-9_])+\])[+*?]?"
_HEX = "[0-9a-fA-F]"
_UUID = rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"


def _uuid(version: int) -> str:
    return rf"^{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-[89abAB]{_HEX}{{3}}-{_HEX}{{12}}$"


_IPV4_NETWORK = rf"{_IPV4}(?:/32)?|(?:{_OCTET}\.){{3}}0/24|(?:{_OCTET}\.){{2}}0\.0/16|{_OCTET}\.0\.0\.0/8"
_IPV6_NETWORK = rf"(?:{_IPV6})(?:/128)?"
_IPV4_INTERFACE = rf"{_IPV4}(?:/(?:[12]?\d|3[0-2]))?"
_IPV6_INTERFACE = rf"(?:{_IPV6})(?:/(?:[1-9]?\d|1[01]\d|12[0-8]))?"

#: Format name to pattern: RFC 3339 for dates, times and durations, RFC 4122 for UUIDs, RFC 5321, 1123, 4291,
#: 3986, 6570 and 6901 for mail addresses, hosts, IP addresses, URIs, their templates and JSON pointers; then
#: the names that pydantic, schemars and OpenAPI use.
PATTERNS: dict[str, str] = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "duration": f"^P(?:{_DURATION_DATE}(?:{_DURATION_TIME})?|{_DURATION_TIME}|{_N}W)$",
    "uuid": f"^{_UUID}$",
    "email": f"^{_EMAIL}$",
    "idn-email": f"^{_EMAIL}$",
    "hostname": f"^{_HOST}$",
    "idn-hostname": f"^{_HOST}$",
    "ipv4": f"^{_IPV4}$",
    "ipv6": f"^(?:{_IPV6})$",
    "uri": f"^{_URI}$",
    "iri": f"^{_URI}$",
    "uri-reference": f"^(?:{_URI}|{_RELATIVE})$",
    "iri-reference": f"^(?:{_URI}|{_RELATIVE})$",
    "uri-template": r"^(?:[A-Za-z0-9._~:/?&=-]|\{[?&/]?[A-Za-z][A-Za-z0-9_]*\})*$",
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": rf"^(?:0|[1-9]\d{{0,3}})(?:#|{_POINTER})$",
    "regex": rf"^\^?(?:{_SIMPLE}|\((?:{_SIMPLE})+\)[+*?]?)*\$?$",
    "byte": rf"^(?:{_BASE64}{{4}})*(?:{_BASE64}{{2}}==|{_BASE64}{{3}}=)?$",
    "base64url": r"^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?$",
    "partial-date-time": f"^{_DATE}T{_CLOCK}$",
    "ip": f"^(?:{_IPV4}|{_IPV6})$",
    "ipvanyaddress": f"^(?:{_IPV4}|{_IPV6})$",
    "ipv4network": f"^(?:{_IPV4_NETWORK})$",
    "ipv6network": f"^(?:{_IPV6_NETWORK})$",
    "ipvanynetwork": f"^(?:{_IPV4_NETWORK}|{_IPV6_NETWORK})$",
    "ipv4interface": f"^(?:{_IPV4_INTERFACE})$",
    "ipv6interface": f"^(?:{_IPV6_INTERFACE})$",
    "ipvanyinterface": f"^(?:{_IPV4_INTERFACE}|{_IPV6_INTERFACE})$",
    **{f"uuid{version}": _uuid(version) for version in (1, 3, 4, 5, 6, 7, 8)},
    "name-email": f"^{_EMAIL}$",
}
#: Formats that are written with the structure of their pattern: their automata are large.
STRUCTURED = frozenset(
    [
        "email",
        "idn-email",
        "name-email",
        "hostname",
        "idn-hostname",
        "uri",
        "iri",
        "uri-reference",
        "iri-reference",
        "byte",
        "base64url",
    ]
)
#: What every string of a format is like, in the loosest reading: to tell one format from another.
WIDE_PATTERNS: dict[str, str] = {
    "date": r"^\d{4}-\d\d-\d\d$",
    "time": r"^\d\d:\d\d:\d\d",
    "date-time": r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d",
    "duration": "^P",
    "uuid": f"^{_UUID}$",
    "email": "@",
    "idn-email": "@",
    "hostname": r"^[A-Za-z0-9.-]+$",
    "ipv4": r"^[0-9.]+$",
    "ipv6": r"^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:",
    "iri": r"^[A-Za-z][A-Za-z0-9+.-]*:",
}
#: Formats of strings that say how to show or to store a value; any string has them.
ANNOTATION_FORMATS = frozenset(
    [
        "password",
        "path",
        "textarea",
        "multi-line",
        "binary",
        "file-path",
        "directory-path",
        "color",
        "json-string",
        "text",
    ]
)
#: Formats of numbers with the integers they hold; None where the format bounds nothing.
NUMBER_FORMATS: dict[str, tuple[int, int] | None] = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    "int": (-(2**63), 2**63 - 1),
    "uint": (0, 2**64 - 1),
    "float": None,
    "double": None,
    "decimal": None,
}
