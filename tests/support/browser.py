"""A real headless Chromium, where one is installed: console messages, the page's width, screenshots, a print.

Speaks to it through its own command line only; the measuring page frames the report at a phone's width, because a
headless window is never narrower than 500 px.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<!DOCTYPE html><body style="margin:0">
<iframe id="f" src="{url}" style="border:0;width:{width}px;height:{height}px"></iframe>
<script>onload = () => {{
  const page = document.getElementById("f").contentDocument.documentElement;
  document.body.dataset.widths = page.scrollWidth + " " + page.clientWidth + " " + page.scrollHeight;
}}</script></body>"""


def chromium(*arguments: str) -> tuple[str, str]:
    """Its output and what it logged."""
    assert CHROMIUM
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files"]
    flags += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000", "--disable-dev-shm-usage"]
    done = subprocess.run([CHROMIUM, *flags, *arguments], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, done.stderr


def widths(page: Path, width: int) -> tuple[int, int, int]:
    """Scrolled and visible width of the page in a window of `width`, and its height."""
    frame = _frame(page, width, 800)
    found = re.search(r'data-widths="(\d+) (\d+) (\d+)"', chromium("--dump-dom", frame.as_uri())[0])
    assert found, "the page did not load"
    return int(found[1]), int(found[2]), int(found[3])


def console(page: Path) -> list[str]:
    """Lines that the page's console shows."""
    return [line for line in chromium("--dump-dom", page.as_uri())[1].splitlines() if "CONSOLE" in line]


def screenshot(page: Path, width: int, height: int, to: Path) -> None:
    """A picture of the first `height` pixels at `width`."""
    frame = _frame(page, width, height)
    chromium(f"--screenshot={to}", f"--window-size={max(width, 500)},{height}", frame.as_uri())


def printed(page: Path, to: Path) -> None:
    """A PDF, as printing makes it."""
    chromium(f"--print-to-pdf={to}", "--no-pdf-header-footer", page.as_uri())


def _frame(page: Path, width: int, height: int) -> Path:
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(MEASURE.format(url=html.escape(page.as_uri()), width=width, height=height))
    return frame
