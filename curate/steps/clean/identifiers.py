"""How e-mail addresses, IP addresses, phone, account and card numbers are distinguished from what looks like them.

    replace_ips("from 81.2.69.142, version 1.2.3.4")      # ('from <ip>, version 1.2.3.4', 1)

The patterns are bounded, so that the time is linear in the text. They prefer to miss a doubtful one: a
number that is altered by mistake spoils a fact.
"""

from __future__ import annotations

import ipaddress
import re

EMAIL_TOKEN, IP_TOKEN, PHONE_TOKEN, IBAN_TOKEN, CARD_TOKEN = "<email>", "<ip>", "<phone>", "<iban>", "<card>"

# Latin letters with marks count, as in `info@tüv.example`; others do not, for in Chinese
# no space ends the sentence before an address.
_LATIN = "A-Za-z0-9À-ɏ"
_LOCAL = re.compile(rf"[{_LATIN}_+%&'-]+(?:\.[{_LATIN}_+%&'-]+)*\Z")
_LOCAL_MOST = 64  # characters, RFC 5321
_DOMAIN = re.compile(
    rf"(?:[{_LATIN}](?:[{_LATIN}-]{{0,61}}[{_LATIN}])?\.){{1,8}}(xn--[a-z0-9-]{{2,59}}|[A-Za-z]{{2,63}})(?![{_LATIN}])"
)
# "logo@2x.png" is a file for screens of double density.
_FILES = frozenset(
    {
        "avif",
        "bmp",
        "css",
        "gif",
        "htm",
        "html",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "json",
        "mp3",
        "mp4",
        "pdf",
        "php",
    }
    | {"png", "svg", "tif", "tiff", "webp", "xml"}
)

# Not in a name or path ("Firefox/3.6.13.1", "lib-1.2.3.4"), nor part of a longer row of numbers.
_IPV4 = re.compile(
    rf"(?<![{_LATIN}_.])(?<![A-Za-z][/-])(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?![{_LATIN}_]|[.-][A-Za-z]|\.[0-9])"
)
_VERSION = re.compile(
    r"(?:\b(?:versions?|releases?|builds?|firmware|rev(?:ision)?|ver|v|sections?|chapter|clause|kapitel|abschnitt)\.?"
    r"|§)\s{0,2}[:#]?\s{0,2}\Z",
    re.IGNORECASE,
)
_VERSION_MOST = 24  # characters before an address that can say it is a version
_NAME = re.compile(r"[A-Z][a-z]+[ \u00a0]\Z")
_OUTLINE = re.compile(r"\s{1,3}[^\W\d_]")
# Global unicast, 2000::/3, which is where every public address is: "std::list" and "12:30:45" are not.
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = re.compile(
    rf"(?<![{_LATIN}_:.])[23][0-9A-Fa-f]{{3}}"
    rf"(?:(?::{_GROUP}){{7}}"
    rf"|(?::{_GROUP}){{1,6}}::(?:{_GROUP}(?::{_GROUP}){{0,4}})?"
    rf"|::{_GROUP}(?::{_GROUP}){{1,5}})(?![{_LATIN}_:])"
)

_GAP = "[ \u00a0./\u2010-\u2013-]"  # between the digits of a phone number
_DIGIT = rf"(?:{_GAP}{{0,2}}(?:\({_GAP}?)?[0-9]\)?)"
_AMERICAN = r"(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-.][0-9]{4}"
_LABEL = (
    r"(?:(?:tel|telefon|teléfono|telephone|fax|telefax)[.:]{0,2}|(?:phone|mobile|mobil|handy)[.:]{1,2})"
    "[ \u00a0]{0,2}"
)
_PHONE = re.compile(
    # +49 (0)30 123456, (+48) 22 525 80 40
    rf"(?<![A-Za-z0-9+])(?:\+[1-9]|\(\+[1-9][0-9]{{0,2}}\)){_DIGIT}{{8,14}}(?![0-9])"
    # (212) 555-0123, 1-800-555-0123
    rf"|(?<![A-Za-z0-9.,$+-])(?:1[ .-])?{_AMERICAN}(?![A-Za-z0-9-]|[.,][0-9])"
    # Tel.: 08161 4591-801
    rf"|\b{_LABEL}(?P<labelled>\(?[0-9]\)?{_DIGIT}{{6,14}})(?![0-9])",
    re.IGNORECASE,
)

_IBAN_START = re.compile("(?<![A-Za-z0-9])([A-Z]{2})[0-9]{2}(?=[ \u00a0]?[A-Z0-9])")
# Characters of an account number in each country: the registry of SWIFT (ISO 13616).
_IBAN_LENGTH = {
    code: length
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC",
        32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip

_IBAN_REST = {
    length: re.compile(rf"(?:[ \u00a0]?[A-Z0-9]){{{length - 4}}}(?![A-Za-z0-9])")
    for length in set(_IBAN_LENGTH.values())
}

# Digits in one run or in the groups that are printed on cards. Nothing is consumed, so that a number before
# the groups ("2024 4111 1111 ...") does not hide them.
_CARD = re.compile(
    r"(?<![A-Za-z0-9.,+-])(?=([2-6](?:[0-9]{13,18}|[0-9]{3}([ \u00a0-])[0-9]{4}\2[0-9]{4}\2[0-9]{4}"
    r"|[0-9]{3}([ \u00a0-])[0-9]{6}\3[0-9]{4,5}))(?![A-Za-z0-9-]|[.,][0-9]))"
)
_NETWORKS = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12}"  # Discover
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
)


# What a text must hold for one of the functions below to change it. RE2, which runs these patterns, knows no
# look-around, but searches a whole column in the time that `re` takes for a few texts.
EMAIL_GATE = "@"
IP_GATE = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]"
PHONE_GATE = rf"\+[1-9][0-9]{{0,2}}\)?{_DIGIT}{{6}}|{_AMERICAN}|(?i:{_LABEL})\(?[0-9]"
IBAN_GATE = "[A-Z]{2}[0-9]{2}(?:[ \u00a0]?[A-Z0-9]){11}"
CARD_GATE = "[2-6][0-9]{3}(?:[0-9]{10}|[ \u00a0-][0-9]{4}[ \u00a0-]?[0-9]{4}|[ \u00a0-][0-9]{6}[ \u00a0-])"


def replace_emails(text: str) -> tuple[str, int]:
    """The text with a token for each e-mail address, and how many there were."""
    spans = []
    done = 0
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(done, at - _LOCAL_MOST - 1), at)
        domain = _DOMAIN.match(text, at + 1) if local and len(local[0]) <= _LOCAL_MOST else None
        if local and domain and domain[1].lower() not in _FILES:
            start = local.start() + len(local[0]) - len(local[0].lstrip("'&-%"))
            if start < at:
                done = domain.end()
                spans.append((start, done))
        at = text.find("@", max(at + 1, done))
    return _replace(text, spans, EMAIL_TOKEN)


def replace_ips(text: str) -> tuple[str, int]:
    """The text with a token for each public IPv4 and IPv6 address."""
    spans = [found.span() for found in _IPV6.finditer(text) if _is_public(found[0])]
    spans += [found.span() for found in _IPV4.finditer(text) if _is_public(found[0]) and not _is_number(found)]
    return _replace(text, sorted(spans), IP_TOKEN)


def _is_number(found: re.Match[str]) -> bool:
    """Whether what has the form of an IPv4 address is a version or the number of a heading."""
    text, start = found.string, found.start()
    if _VERSION.search(text, max(0, start - _VERSION_MOST), start):
        return True
    if any(len(part) > 2 for part in found[0].split(".")):
        return False  # as 98 of 100 addresses have it
    begins_line = start == 0 or text[start - 1] == "\n"
    if begins_line and _OUTLINE.match(text, found.end()):  # "2.1.3.4 Results"
        return True
    return _NAME.search(text, max(0, start - _VERSION_MOST), start) is not None  # "Firefox 2.0.0.16"


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # a part over 255, or with a leading zero, as in a date
        return False
    return address.is_global and not address.is_multicast


def replace_phones(text: str) -> tuple[str, int]:
    """The text with a token for each phone number; what names it ("Tel.:") stays."""
    spans = []
    for found in _PHONE.finditer(text):
        labelled = "labelled" if found["labelled"] else 0
        if not re.sub(r"[^0-9]", "", found[labelled]).endswith("000000"):  # "+100 000 000 users"
            spans.append(found.span(labelled))
    return _replace(text, spans, PHONE_TOKEN)


def replace_ibans(text: str) -> tuple[str, int]:
    """The text with a token for each account number of its country's length whose check digits hold."""
    spans = []
    for start in _IBAN_START.finditer(text):
        length = _IBAN_LENGTH.get(start[1])
        rest = _IBAN_REST[length].match(text, start.end()) if length else None
        if rest and _mod_97(re.sub(r"[^A-Z0-9]", "", rest[0] + start[0])) == 1:
            spans.append((start.start(), rest.end()))
    return _replace(text, spans, IBAN_TOKEN)


def _mod_97(rearranged: str) -> int:
    """ISO 7064: letters count as 10 to 35."""
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97


def replace_cards(text: str) -> tuple[str, int]:
    """The text with a token for each number of a card network whose check digit holds."""
    spans = []
    for found in _CARD.finditer(text):
        digits = re.sub(r"[^0-9]", "", found[1])
        if _NETWORKS.fullmatch(digits) and _luhn(digits):
            spans.append(found.span(1))
    return _replace(text, spans, CARD_TOKEN)


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: from the right every second digit is doubled, and the sum of all digits ends in 0."""
    doubled = (int(digit) << at % 2 for at, digit in enumerate(reversed(digits)))
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def _replace(text: str, spans: list[tuple[int, int]], token: str) -> tuple[str, int]:
    """Put the token for each span, but for those that begin within the one before."""
    pieces = []
    done = count = 0
    for start, end in spans:
        if start >= done:
            pieces += [text[done:start], token]
            done = end
            count += 1
    return "".join(pieces) + text[done:], count
