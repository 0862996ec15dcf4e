from __future__ import annotations

import functools
import io
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.clean import CLEANERS
from curate.steps.clean.pii import pii
from curate.text.batch import TextBatch

ALL = {"email": True, "ip": True, "phone": True, "iban": True, "card": True}


def cleaned(text: str, **arguments: bool) -> str:
    return pii(**arguments)(TextBatch.of([text]))[0][0].as_py()  # type: ignore[no-any-return]  # a pyarrow scalar


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("Write to jo.doe+news@mail.example.org.", "Write to <email>."),
        ("(info@tüv.example)", "(<email>)"),
        ("mailto:Jo_1@example.co.uk?subject=x", "mailto:<email>?subject=x"),
        ("'jo@example.org', <mo@example.org>", "'<email>', <<email>>"),
        ("编辑信箱：bianji@example.org。", "编辑信箱：<email>。"),
        ("see...info@example.org", "see...<email>"),
        ("a@example.org,b@example.org;c@example.org", "<email>,<email>;<email>"),
        ("müller@example.org", "<email>"),
        ("info@xn--tv-xka.xn--p1ai", "<email>"),
    ],
)
def test_email_addresses_are_replaced(text: str, edited: str) -> None:
    assert cleaned(text) == edited


@pytest.mark.parametrize(
    "text",
    [
        "(@spicegirls)",
        "kulinaria@home",
        "''@'localhost'",
        "logo@2x.png",
        "lodash@4.17.21",
        "a @ b.org",
        "you@msm.",
        "@",
        "@@",
        "@example.org",
        "jo@",
        "jo@.org",
        "jo@example..org",
        "jo@-x.org",
        "x" * 70 + "@example.org",
    ],
)
def test_what_is_no_email_address_stays(text: str) -> None:
    assert cleaned(text, **ALL) == text


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("from 81.2.69.142.", "from <ip>."),
        ("http://81.2.69.142:80/a 81.2.69.142/24", "http://<ip>:80/a <ip>/24"),
        ("81.2.69.142-81.2.69.160", "<ip>-<ip>"),
        ('81.2.69.142 - - "GET /"', '<ip> - - "GET /"'),
        ("地址81.2.69.142。", "地址<ip>。"),
        ("[2a00:1450:4001:82b::200e]:443", "[<ip>]:443"),
        ("2001:4860:4860:0:0:0:0:8888", "<ip>"),
        ("2606:4700::1111, 2a00:1450::", "<ip>, <ip>"),
        ("::ffff:81.2.69.142", "::ffff:<ip>"),
    ],
)
def test_public_addresses_are_replaced(text: str, edited: str) -> None:
    assert cleaned(text) == edited


@pytest.mark.parametrize(
    "text",
    [
        "192.168.1.100, 10.0.0.1, 172.16.0.9 and 127.0.0.1 are private",
        "netmask 255.255.255.0, multicast 224.0.0.251, nothing 0.0.0.0, examples 192.0.2.7 and 198.51.100.3",
        "fe80::1, fd00::12:34, ::1 and 2001:db8::1",
        "Chrome/59.0.30.125 on lib-1.2.3.4 and lib-1.2.3.4.tar.gz",
        "version 81.2.69.142, Version: 1.2.3.4, v. 1.2.3.4, v1.2.3.4, firmware 1.2.3.4 and § 1.2.3.4",
        "1.2.3.4.5 and 300.1.2.3 and 1.2.3",
        "2.1.3.4 Results, Firefox 2.0.0.16",
        "on 01.02.20.21, 12.10.2020 and 2020-10-12 at 12:30:45",
        "1.234.567,89 or $1,299.99 or 3.14159265358979 or 1.000.000.000",
        "std::list, Walker::start_el, 4:3 and 2024:10:11",
    ],
)
def test_what_is_no_public_address_stays(text: str) -> None:
    assert cleaned(text, **ALL) == text


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("Tel: +49 8161 4591 801", "Tel: <phone>"),
        ("faks: (+48) 22 525 80 40", "faks: <phone>"),
        ("Service:+49 (0)6321-8908 oder", "Service:<phone> oder"),
        ("+38 (044) 207-33-05", "<phone>"),
        ("+1-212-555-0123, +442071838750", "<phone>, <phone>"),
        ("call (212) 555-0123 or 1-800-555-0199", "call <phone> or <phone>"),
        ("Tel. 08161 4591-801", "Tel. <phone>"),
        ("Mobil: 0151 67851903", "Mobil: <phone>"),
        ("+41\u00a044\u00a0360\u00a052\u00a062", "<phone>"),
    ],
)
def test_phone_numbers_are_replaced_on_request(text: str, edited: str) -> None:
    assert cleaned(text, phone=True) == edited
    assert cleaned(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "+100 000 000 users",
        "+5 to +10 degrees",
        "2019-2020 and 2021-2022",
        "hotel 1234567890",
        "a+1234567890",
        "ISBN 978-3-16-148410-0",
        "tel 12 to 14",
        "$212-555-0123",
        "1234567890",
        "12 345 678 901",
        "2+2=4, 10+15=25",
    ],
)
def test_what_is_no_phone_number_stays(text: str) -> None:
    assert cleaned(text, **ALL) == text


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("IBAN: DE89 3704 0044 0532 0130 00.", "IBAN: <iban>."),
        ("GB82WEST12345698765432 BIC WESTGB2L", "<iban> BIC WESTGB2L"),
        ("NO93 8601 1117 947", "<iban>"),
        ("XX12 DE89 3704 0044 0532 0130 00", "XX12 <iban>"),
        ("AB12 GB82 WEST 1234 5698 7654 32", "AB12 <iban>"),
    ],
)
def test_account_numbers_with_valid_check_digits_are_replaced_on_request(text: str, edited: str) -> None:
    assert cleaned(text, iban=True) == edited
    assert cleaned(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "DE88 3704 0044 0532 0130 00",  # check digits
        "DE89 3704 0044 0532 0130 0",  # too short
        "DE89 3704 0044 0532 0130 001",  # too long
        "UE75RU7099UXZG is a television",
        "ZZ89 3704 0044 0532 0130 00",  # no such country
    ],
)
def test_what_is_no_account_number_stays(text: str) -> None:
    assert cleaned(text, **ALL) == text


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("4111 1111 1111 1111 exp 12/27", "<card> exp 12/27"),
        ("4111-1111-1111-1111", "<card>"),
        ("card:5555555555554444.", "card:<card>."),
        ("3782 822463 10005", "<card>"),
        ("2024 4111 1111 1111 1111", "2024 <card>"),
        ("6011111111111117, 30569309025904, 3530111333300000", "<card>, <card>, <card>"),
    ],
)
def test_card_numbers_that_pass_luhn_are_replaced_on_request(text: str, edited: str) -> None:
    assert cleaned(text, card=True) == edited
    assert cleaned(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # check digit
        "9111111111111111",  # no network
        "41111111111111111111",  # too long
        "4111 1111-1111 1111",
        "3.4111111111111111",
        "id-4111111111111111",
    ],
)
def test_what_is_no_card_number_stays(text: str) -> None:
    assert cleaned(text, card=True, iban=True) == text


def test_every_replacement_is_counted_in_the_column_of_its_kind() -> None:
    texts = ["a@example.org 81.2.69.142 b@example.org", None, "", "+49 8161 4591 801, 4111111111111111"]
    text, columns = pii(**ALL)(TextBatch.of(texts))
    assert text.to_pylist() == ["<email> <ip> <email>", None, "", "<phone>, <card>"]
    assert {name: values.to_pylist() for name, values in columns.items()} == {
        "emails": [2, 0, 0, 0],
        "ibans": [0, 0, 0, 0],
        "cards": [0, 0, 0, 1],
        "ips": [1, 0, 0, 0],
        "phones": [0, 0, 0, 1],
    }
    assert all(values.type == pa.int32() for values in columns.values())


def test_only_the_kinds_asked_for_have_columns() -> None:
    assert list(pii()(TextBatch.of([]))[1]) == ["emails", "ips"]
    text, columns = pii(email=False, ip=False)(TextBatch.of(["a@example.org", None]))
    assert (text.to_pylist(), columns) == (["a@example.org", None], {})


def test_no_rows_and_a_slice_are_cleaned() -> None:
    texts = pa.array(["a@example.org", "b@example.org", None, "c"], type=pa.string())
    text, columns = pii()(TextBatch(texts.slice(1, 2)))
    assert text.type == pa.large_string()
    assert text.to_pylist() == ["<email>", None]
    assert columns["emails"].to_pylist() == [1, 0]
    assert pii()(TextBatch(texts.slice(0, 0)))[0].to_pylist() == []


def test_invalid_utf8_around_an_address_is_kept() -> None:
    texts = pa.array([b"\xff a@example.org \xe2", b"\xe281.2.69.142\xff"], type=pa.large_binary())
    text, columns = pii()(TextBatch(texts.view(pa.large_string())))
    assert text.view(pa.large_binary()).to_pylist() == [b"\xff <email> \xe2", b"\xe2<ip>\xff"]
    assert columns["emails"].to_pylist() == [1, 0]


def test_a_factory_with_its_arguments_can_be_pickled() -> None:
    made = pickle.loads(pickle.dumps(functools.partial(CLEANERS["pii"], phone=True)))()
    assert list(made(TextBatch.of(["x"]))[1]) == ["emails", "ips", "phones"]


@pytest.mark.parametrize(
    "part", ["1.", "a.", "1", "a@", "+1 ", "2a:", "DE12", "4111 ", "tel ", "x@y.", "- ", "+", "1 "]
)
def test_time_is_linear_in_a_long_row(part: str) -> None:
    text = part * (300_000 // len(part))  # what is quadratic does not end
    assert cleaned(text, **ALL) is not None


pieces = st.sampled_from(
    [
        "a@example.org",
        "@",
        "example.org",
        "81.2.69.142",
        "8.8.8.8",
        "10.0.0.1",
        "+49 8161 4591 801",
        "(212) 555-0123",
        "DE89 3704 0044 0532 0130 00",
        "4111 1111 1111 1111",
        "2606:4700::1111",
        "tel. ",
        "version ",
        " ",
        "\n",
        ".",
        "-",
        "+",
        "1",
        "2024",
        "a",
        "/",
        "(",
        ")",
        ":",
        "DE89",
        "<",
        ">",
    ]
)


@given(st.lists(pieces, max_size=10).map("".join))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    clean = pii(**ALL)
    once, _ = clean(TextBatch.of([text]))
    twice, counts = clean(TextBatch(once))
    assert twice.equals(once)
    assert all(values[0].as_py() == 0 for values in counts.values())


@pytest.fixture(scope="module")
def pages(shared: Path) -> list[str]:
    with (shared / "data" / "web_wet_trafilatura.dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [json.loads(line)["text"] for line in lines]


def test_on_web_pages_all_but_the_replaced_stays_under_any_batching(pages: list[str]) -> None:
    clean = pii(**ALL)
    text, columns = clean(TextBatch.of(pages))
    parts = [clean(TextBatch.of(list(part)))[0] for part in np.array_split(np.array(pages[:150], dtype=object), 7)]
    assert pa.concat_arrays(parts).equals(text[:150])
    assert clean(TextBatch(text))[0].equals(text)
    for before, after in zip(pages, text.to_pylist(), strict=True):
        tokens = r"<(?:email|ip|phone|iban|card)>"
        kept = ".+?".join(re.escape(piece) for piece in re.split(tokens, after)) if before != after else None
        assert kept is None or re.fullmatch(kept, before, re.DOTALL)
    totals = {name: sum(values.to_pylist()) for name, values in columns.items()}
    assert totals["emails"] > 300
    assert totals["ibans"] == 21
    assert totals["phones"] > 30


def test_the_filter_before_the_search_hides_nothing(pages: list[str]) -> None:
    from curate.steps.clean import identifiers

    text, _ = pii(**ALL)(TextBatch.of(pages))
    for page in text.to_pylist():
        for replace in (
            identifiers.replace_emails,
            identifiers.replace_ips,
            identifiers.replace_phones,
            identifiers.replace_ibans,
            identifiers.replace_cards,
        ):
            assert replace(page)[1] == 0
