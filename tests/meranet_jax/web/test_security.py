"""Requests that are refused: of other pages, hosts and users."""

import re

import pytest

from tests.meranet_jax.web.serving import ADDRESS, PORT, TOKEN, application, client


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return application(tmp_path_factory.mktemp("page"))


CHANGING = [
    ("POST", "/api/jobs"),
    ("DELETE", f"/api/jobs/{'a' * 32}"),
    ("POST", f"/api/jobs/{'a' * 32}/cancel"),
    ("PUT", f"/api/jobs/{'a' * 32}/corrections"),
    ("POST", f"/api/jobs/{'a' * 32}/export"),
]


def refused(response, status):
    """Whether a response is one sentence as JSON, and shows no code."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"] and "Traceback" not in response.text
    return True


def test_the_address_that_was_printed_opens_the_page_once_for_all(app):
    with client(app, known=False) as browser:
        assert refused(browser.get("/"), 403)
        assert refused(browser.get("/?token=another"), 403)
        assert refused(browser.get("/api/state?token=" + TOKEN), 403)
        opened = browser.get(f"/?token={TOKEN}", follow_redirects=False)
        assert opened.status_code == 303 and opened.headers["location"] == "/"
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert cookie.startswith(f"meranet_{PORT}=")
        assert TOKEN.lower() not in cookie
        page = browser.get("/")
        assert page.status_code == 200 and TOKEN not in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        assert "http:" not in policy and "https:" not in policy


def test_the_address_that_starts_the_browser_is_valid_once(tmp_path):
    app = application(tmp_path, launch="once")
    with client(app, known=False) as browser, client(app, known=False) as other:
        assert browser.get("/?token=once").status_code == 200
        assert refused(other.get("/?token=once"), 403)
        # Whoever was first may have been another user of the machine.
        assert refused(browser.get("/"), 403)
        assert browser.get(f"/?token={TOKEN}").status_code == 200


def test_the_page_has_no_script_style_or_address_of_its_own_in_it(app):
    with client(app) as browser:
        text = browser.get("/").text
        assert "<style" not in text and "style=" not in text and "://" not in text
        assert "<script>" not in text and " on" + "click" not in text
        names = re.findall(r'from "\./([\w.]+)"', browser.get("/page.js").text)
        assert len(names) > 5
        for name in ("page.css", "page.js", "icon.svg", *names):
            found = browser.get(f"/{name}")
            assert found.status_code == 200, name
            sources = found.text.replace("http://www.w3.org/2000/svg", "")
            assert "://" not in sources, name


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1:8001", "127.0.0.1", "", "a@127.0.0.1:8000"]
)
def test_other_hosts_are_refused(app, host):
    with client(app) as browser:
        cookie = f"meranet_{PORT}={browser.cookies[f'meranet_{PORT}']}"
        assert browser.get("/api/state", headers={"cookie": cookie}).status_code == 200
        headers = {"cookie": cookie, "host": host}
        assert refused(browser.get("/api/state", headers=headers), 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "https://127.0.0.1:8000"},
        {"origin": ""},
        {"origin": "http://["},
        {"origin": ADDRESS, "sec-fetch-site": "cross-site"},
        {"origin": ADDRESS, "sec-fetch-site": "same-site"},
    ],
)
def test_other_pages_change_nothing(app, headers):
    with client(app) as browser:
        for method, path in CHANGING:
            assert refused(browser.request(method, path, headers=headers), 403)
    with client(app, origin=None) as browser:
        assert refused(browser.post("/api/jobs"), 403)


def test_without_the_token_nothing_is_answered(app):
    with client(app, known=False) as browser:
        for method, path in [*CHANGING, ("GET", "/api/state"), ("GET", "/page.js")]:
            assert refused(browser.request(method, path), 403)


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/jobs/..%2f..%2fetc/result",
        "/api/jobs/%00/video",
        "/runs/..%2f..%2fetc%2fpasswd",
        "/static/page.js",
        "/api/jobs/" + "a" * 32 + "/pictures/..%2fjob.json",
        "//etc/passwd",
    ],
)
def test_paths_lead_to_no_other_file(app, path):
    with client(app) as browser:
        assert refused(browser.get(path), 404)


def test_other_methods_are_refused(app):
    with client(app) as browser:
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert refused(browser.request(method, "/api/state"), 405)
