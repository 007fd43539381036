"""Addresses: parsing them, and hiding their secrets."""

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.addresses import Address, redact
from device.errors import AddressError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://a:b@h:554/x?u=1&pwd=2", "rtsp://a:***@h:554/x?u=1&pwd=***"),
        ("http://h/x?token=abc&x", "http://h/x?token=***&x"),
        ("http://h/x#access_token=abc", "http://h/x#access_token=***"),
        ("http://user@h/", "http://user@h/"),
        ("http://h:8080/", "http://h:8080/"),
        ("rtsp://a:p@ss/w#rd@h/x", "rtsp://a:***@h/x"),
        ("rtsp:/a:b@h/x", "rtsp:/a:***@h/x"),
        ("rtsp://a:/b@h/x", "rtsp://a:***@h/x"),
        ("a:/b@h/x", "a:***@h/x"),
        ("http://h/x?mail=a:b@c", "http://h/x?mail=a:***@c"),
        ("http://h/x@y", "http://h/x@y"),
        ("https://h/?X-Amz-Signature=abc;b=1", "https://h/?X-Amz-Signature=***;b=1"),
        ("a:b@h", "a:***@h"),
        ("'mqtt://:b@h/t' is down, http://u:p@k is not", "'mqtt://:***@h/t' is down, http://u:***@k is not"),
        ("the camera 'http://h/?key=abc' is lost", "the camera 'http://h/?key=***' is lost"),
        ("write http://USER:PASSWORD@HOST/", "write http://USER:PASSWORD@HOST/"),
        ("mail me@here: at 12:30", "mail me@here: at 12:30"),
    ],
)
def test_secrets_in_addresses_are_hidden(text: str, shown: str) -> None:
    """In an address and in a message with several; everything else stays readable."""
    assert redact(text) == shown


@given(
    st.text(min_size=1, max_size=12),
    st.text(
        st.characters(exclude_characters=" \t\r\n", exclude_categories=["Z", "C"]), min_size=4, max_size=12
    ),
)
def test_no_password_is_shown_however_it_is_written(user: str, password: str) -> None:
    """Escaped as required, or typed unescaped."""
    secret = f"{password}§secret"  # of any first character
    for written in (urllib.parse.quote(secret, safe=""), secret):
        url = f"rtsp://{urllib.parse.quote(user, safe='')}:{written}@host/live"
        shown = redact(f"{url} is lost")
        assert "secret" not in shown
        assert shown.endswith("@host/live is lost")


@pytest.mark.parametrize("piece", ["a:", "?a", "#token", "@a:", "http://", "a=", "&key="])
def test_a_long_text_is_read_once(piece: str) -> None:
    """A server may send a header of any kind; a quadratic search in it would take minutes."""
    text = piece * (200_000 // len(piece))
    assert len(redact(f"@{text}")) <= len(text) * 3
    assert len(redact(f"{text}@h")) <= len(text) * 3


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_user_and_password_are_unescaped(user: str, password: str) -> None:
    """Any character, percent-encoded."""
    quoted = [urllib.parse.quote(part, safe="") for part in (user, password)]
    address = Address.parse(f"mqtt://{quoted[0]}:{quoted[1]}@broker:1884/a/b", ("mqtt",))
    assert (address.user, address.password, address.port) == (user, password, 1884)
    assert address.bare == "mqtt://broker:1884/a/b"


@pytest.mark.parametrize(
    "text",
    [
        "http://",
        "ftp://u:s3cret@host/",
        "http://u:s3cret/x@host/",
        "http://[u:s3cret@host/",
        "http://u:s3cret@host:port/",
        "http://u:s3cret @host/",
        "u:s3cret@host",
    ],
)
def test_a_malformed_address_is_refused_without_its_password(text: str) -> None:
    """The message shows what was expected instead."""
    with pytest.raises(AddressError, match=r"http://|%20") as refusal:
        Address.parse(text, ("http", "https"))
    assert "s3cret" not in str(refusal.value)
