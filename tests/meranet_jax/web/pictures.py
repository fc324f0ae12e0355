"""Draws the pictures of the page in the documentation, with a real analysis.

``python -m tests.meranet_jax.web.pictures RUNS docs`` needs Chromium, and a folder of
finished runs, of which the first two by name are compared.
"""

import sys
import tempfile
from pathlib import Path

from datasets.synthetic import long_video
from meranet_jax.web.worker_process import WORKER
from tests.meranet_jax.web.browsing import launched, serving, until

# Milliseconds of the analysis
_WAIT = 600_000


def main(arguments):
    """Draws them.

    Args:
      arguments: folder of the runs, and of the pictures.
    """
    runs, pictures = map(Path, arguments)
    with tempfile.TemporaryDirectory() as made:
        video = Path(made) / "Interview 3.mp4"
        config = long_video.LongVideoConfig(
            seconds=20, faces="photograph", expressions=15, amplitude=(2, 2.5), noise=0
        )
        long_video.render(video, config)
        folder = Path(made) / "page"
        folder.mkdir()
        with (
            serving(folder, worker=WORKER, run_folder=runs.absolute()) as address,
            launched() as chromium,
        ):
            page = chromium.new_page(viewport={"width": 1280, "height": 1060})
            page.set_default_timeout(_WAIT)
            page.goto(address)
            page.set_input_files("#file", video)
            page.wait_for_selector("#candidates li")
            until(page, "document.getElementById('video').readyState >= 2", 60)
            for key in ("n", "a", "n"):
                page.keyboard.press(key)
            page.locator("#candidates li.selected summary").click()
            until(page, "document.querySelector('.pictures img')?.naturalWidth > 0")
            page.select_option("#motion", "regions")
            page.keyboard.press("ArrowRight")
            page.locator("#result-title").scroll_into_view_if_needed()
            page.evaluate("document.getElementById('result').scrollIntoView()")
            page.wait_for_timeout(5000)  # until the message has gone
            page.screenshot(path=pictures / "page.png")
            page.goto(address.split("?")[0] + "runs")
            page.wait_for_selector("table tbody tr")
            for box in page.locator("tbody input[type=checkbox]").all()[:2]:
                box.check()
            page.get_by_role("button", name="Compare", exact=True).click()
            page.wait_for_selector("text=McNemar")
            page.screenshot(path=pictures / "page-runs.png")


if __name__ == "__main__":
    main(sys.argv[1:])
