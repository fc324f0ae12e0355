"""The page of runs in a real browser: list, report, comparison, accessibility."""

import pytest

from tests.meranet_jax.web.browsing import (
    BROWSER,
    opened_page,
    serving,
    until,
    violations,
)
from tests.meranet_jax.web.run_folders import write_runs

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no Chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    write_runs(runs)
    report = runs / "good" / "report.md"
    # A report is text: nothing in it becomes markup.
    report.write_text(
        report.read_text()
        + "\n<img src=x onerror=alert(1)> **bold** `a|b`\n\n"
        + "| x | y |\n|---|---|\n| a\\|b | <b>c</b> |\n\n```\ncode\n```\n"
    )
    with serving(tmp_path_factory.mktemp("page"), run_folder=runs) as printed:
        yield printed


@pytest.fixture
def page(chromium, address):
    with opened_page(chromium, address, (400, 404)) as opened:
        opened.click("text=Runs")
        opened.wait_for_selector("#list")
        yield opened


def names(page):
    return page.locator("#runs tbody tr:visible th").all_inner_texts()


@pytest.mark.e2e
def test_sort_filter_and_compare_by_keyboard(page):
    assert names(page)[1:] == ["good", "more/poor", "seeds"]
    assert "1 of 2 folds" in page.locator("#refused").inner_text()
    head = page.locator("#runs thead th", has_text="Accuracy")
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    best = names(page)
    assert best[0] == "good" and best[-1].startswith("Weights")  # no accuracy
    head.locator("button").press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(page)[:3] == best[2::-1] and names(page)[-1] == best[-1]
    page.fill("#filter", "LOSO more")
    assert names(page) == ["more/poor"]
    assert page.locator("#shown").inner_text() == "1 of 4 recognisers"
    page.fill("#filter", "")
    assert page.locator("#compare").is_disabled()
    for name in ("good", "more/poor"):
        page.get_by_label(f"Compare {name}").press("Space")
    page.locator("#compare").press("Enter")
    page.wait_for_selector("#compared")
    text = page.locator("#compared").inner_text()
    assert "the same 30 test clips of 6 subjects, with 1 seed" in text
    assert "needs several seeds" in text and "McNemar" in text
    assert violations(page) == []


@pytest.mark.e2e
def test_one_run_and_its_report(page):
    page.click("text=good")
    page.wait_for_selector("#run")
    assert page.title() == "good – Runs"
    report = page.locator(".report")
    assert report.locator("img, b").count() == 0
    assert "<img src=x onerror=alert(1)>" in report.inner_text()
    assert report.locator("strong").inner_text() == "bold"
    assert report.locator("pre").inner_text() == "code"
    assert report.locator("table").last.locator("tbody th").inner_text() == "a|b"
    cells = page.locator(".confusion tbody th").all_inner_texts()
    assert cells == ["negative", "positive", "surprise"]
    picture = page.locator("figure img").first
    picture.scroll_into_view_if_needed()
    until(page, "document.querySelector('figure img').naturalWidth > 0")
    assert picture.get_attribute("alt") == "Confusion matrix"
    page.select_option("#other", label="seeds")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#compared")
    assert "different seeds" in page.locator("#compared .caution").inner_text()


@pytest.mark.e2e
def test_accessibility_in_light_and_dark_and_narrow_windows(page):
    wide = "document.documentElement.scrollWidth > innerWidth"
    # A name without spaces, as of folders of runs, breaks.
    page.locator("#runs th a").last.evaluate(
        "(link) => { link.textContent = 'wild_b_training-onset_apex_flow'.repeat(2); }"
    )
    for width in (1280, 820):
        page.set_viewport_size({"width": width, "height": 900})
        cut = "(table) => table.scrollWidth > table.clientWidth"
        assert not page.locator("#list > .scroll").evaluate(cut), width
    assert violations(page) == [] and not page.evaluate(wide)
    page.emulate_media(color_scheme="dark")
    page.click("text=good")
    page.wait_for_selector("#run")
    assert violations(page) == [] and not page.evaluate(wide)


@pytest.mark.e2e
def test_a_run_that_is_missing_is_reported(page):
    page.goto(f"{page.url}?run=missing")
    page.wait_for_selector("#message:not(:empty)")
    assert "no such run" in page.locator("#message").inner_text()
    page.click("#to-list")
    page.wait_for_selector("#list")
