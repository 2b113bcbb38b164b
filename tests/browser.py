"""A page as a real browser shows it.

Chromium is spoken to by its DevTools protocol over `websockets`: one connection tells of console, network and page,
and sets the colour scheme, without a driver that has to be of the browser's version.
"""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]

# How much of the page the marks of each plot cover. Axes and grid lines are no marks.
LOOK_AT_PLOTS = """
{
const extent = (lows, highs) => lows.length ? Math.max(...highs) - Math.min(...lows) : 0;
[...document.querySelectorAll('svg')].map(svg => {
  const own = svg.matches('.plot') ? '[style*="--accent"]' : '.dot, .bar, .node, .whisker, .reference';
  const marks = [...svg.querySelectorAll(own)].map(mark => mark.getBoundingClientRect());
  return {
    name: svg.getAttribute('aria-label') || svg.getAttribute('class'),
    shown: svg.getClientRects().length > 0,
    width: extent(marks.map(mark => mark.left), marks.map(mark => mark.right)),
    height: extent(marks.map(mark => mark.top), marks.map(mark => mark.bottom)),
  };
});
}
"""

# The contrast of every text with the paper, by the formula of WCAG 2.2.
LOOK_AT_TEXTS = """
(() => {
  const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const texts = 'p, td, th, dt, dd, li, h1, h2, h3, summary, figcaption, svg text';
  return [...document.querySelectorAll(texts)].map(text => {
    const style = getComputedStyle(text);
    const ink = light(text.closest('svg') ? style.fill : style.color);
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    return {text: text.textContent.slice(0, 40), contrast};
  });
})()
"""


class Tab:
    """A page in Chromium, and everything that it tells."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.calls = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.calls += 1
        self.connection.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        return self._wait_for(lambda message: message.get("id") == self.calls)["result"]

    def open(self, page: Path, *, scheme: str, width: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        if not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._wait_for(lambda message: message.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]

    def _wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(self.connection.recv(timeout=20))
            if "method" in message:
                self.events.append(message)
            if wanted(message):
                return message


@contextmanager
def open_tab(profile: Path) -> Iterator[Tab]:
    """Start Chromium with a profile folder of its own; skip, with the reason, where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium: `apt-get install -y chromium` on Debian")
    # Without an address, the start page would still be loading when the first test looks at the network.
    command = [chromium, *SWITCHES, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as browser:
        assert browser.stderr is not None
        told = []
        for line in browser.stderr:
            told.append(line)
            if found := re.search(r"DevTools listening on ws://([^/]+)/", line):
                break
        else:
            pytest.fail("Chromium ended before it listened:\n" + "".join(told))
        with urllib.request.urlopen(f"http://{found[1]}/json") as answer:
            address = next(target for target in json.load(answer) if target["type"] == "page")["webSocketDebuggerUrl"]
        try:
            with connect(address, max_size=None, proxy=None) as connection:
                yield Tab(connection)
                connection.send(json.dumps({"id": 0, "method": "Browser.close"}))
        finally:
            browser.terminate()


def problems(tab: Tab) -> list[Any]:
    """What the console shows, and what the page asked for beside itself."""
    asked = [event["request"]["url"] for event in tab.told("Network.requestWillBeSent")]
    console = tab.told("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    return [*console, *asked[1:]]


def assert_report_is_right(tab: Tab, page: Path, *, scheme: str, width: int) -> None:
    """Open a report and look at it: console and network silent, every plot drawn, every text readable."""
    tab.open(page, scheme=scheme, width=width)
    assert problems(tab) == []
    drawings = tab.evaluate(LOOK_AT_PLOTS)
    shown = [drawing for drawing in drawings if drawing["shown"]]
    assert len([drawing for drawing in shown if drawing["width"] and drawing["height"]]) >= 10
    assert [drawing["name"] for drawing in shown if not (drawing["width"] or drawing["height"])] == []
    for name in ("ROC curve", "Precision-recall curve", "Calibration", "Loss by epoch", "Target rate by period"):
        drawn = next(drawing for drawing in shown if drawing["name"] == name)
        assert min(drawn["width"], drawn["height"]) > 50, name
    assert [text for text in tab.evaluate(LOOK_AT_TEXTS) if text["contrast"] < 4.5] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
