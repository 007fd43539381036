"""Scripts of other sites can use the API only where their origin is named, and never with the cookie."""

from __future__ import annotations

import pytest

from device.errors import AddressError

from .conftest import Answer, Client, Serve

SITE, OTHER = "https://example.org", "https://example.com"
ALLOW = "access-control-allow-origin"


def ask(
    client: Client, method: str, path: str, origin: str, body: bytes | None = None, **headers: str
) -> Answer:
    """Send a request as a browser does for a script of `origin`."""
    return Answer(client.open(path, method, body, Origin=origin, Sec_Fetch_Site="cross-site", **headers))


@pytest.fixture
def site(serve: Serve) -> Client:
    """A server that names one origin."""
    return serve(cors=[SITE + "/"])[1]


def test_without_a_name_no_other_site_reads_or_changes(client: Client) -> None:
    """No header of CORS is sent, and preflights are refused."""
    for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/undo"), ("OPTIONS", "/api/v1/predict")):
        answer = ask(client, method, path, SITE)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_named_site_reads_and_changes_through_the_api(site: Client) -> None:
    """The preflight, a request that reads, and one that changes; another site is refused as before."""
    answer = ask(site, "OPTIONS", "/api/v1/samples", SITE, Access_Control_Request_Method="POST")
    assert (answer.status, answer.body, answer.headers[ALLOW]) == (204, b"", SITE)
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/undo")):
        answer = ask(site, method, path, SITE)
        assert (answer.status, answer.headers[ALLOW]) == (200, SITE)
        assert "Origin" in answer.headers["vary"]
        refused = ask(site, method, path, OTHER)
        assert refused.status == 403
        assert ALLOW not in refused.headers


def test_an_error_can_be_read_by_the_named_site(site: Client) -> None:
    """Otherwise a script would see only that the request failed."""
    answer = ask(site, "POST", "/api/v1/predict", SITE, b"not a photo", Content_Type="image/jpeg")
    assert (answer.status, answer.headers[ALLOW]) == (415, SITE)


@pytest.mark.parametrize("path", ["/api/teach", "/api/undo", "/api/labels/delete"])
def test_the_interface_of_the_page_stays_closed(site: Client, path: str) -> None:
    """Only the API for programs is open to a named site."""
    answer = ask(site, "POST", path, SITE, b"{}", Content_Type="application/json")
    assert answer.status == 403
    assert ALLOW not in answer.headers


def test_a_named_site_needs_a_token_and_cannot_use_the_cookie(serve: Serve) -> None:
    """A session in the browser of a viewer does not open the API to the site."""
    server, client = serve(cors=[SITE], sign_in=True)
    assert server.sessions
    cookie = f"{server.sessions.cookie}={server.sessions.token}"
    assert ask(client, "GET", "/api/v1/status", SITE, Cookie=cookie).status == 401
    token = f"Bearer {server.sessions.token}"
    assert ask(client, "GET", "/api/v1/status", SITE, Authorization=token).status == 200


@pytest.mark.parametrize(
    "origin", ["*", "null", "example.org", "https://example.org/path", "https://u:s3cret@h", ""]
)
def test_a_text_that_is_no_origin_is_refused(serve: Serve, origin: str) -> None:
    """The message shows an example, and no password."""
    with pytest.raises(AddressError, match=r"such as https://example\.org") as refusal:
        serve(cors=[origin])
    assert "s3cret" not in str(refusal.value)
