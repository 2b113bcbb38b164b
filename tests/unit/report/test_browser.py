"""The report as a real browser shows it."""

from pathlib import Path

import pytest

from tests.browser import Tab, assert_report_is_right, problems

pytestmark = pytest.mark.browser


@pytest.fixture
def page(report: str, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(report, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_in_a_browser(scheme: str, width: int, tab: Tab, page: Path) -> None:
    assert_report_is_right(tab, page, scheme=scheme, width=width)


def test_a_phone_shows_each_decision_of_a_roll_out_without_scrolling(tab: Tab, page: Path) -> None:
    tab.open(page, scheme="light", width=400)
    stages = tab.evaluate("""
        [...document.querySelectorAll("table.stages tbody tr")].map(row => {
          const cells = [...row.cells].filter(cell => cell.offsetParent !== null)
          const decision = cells.pop().getBoundingClientRect()
          const scroll = row.closest(".scroll")
          return {
            spilt: scroll.scrollWidth - scroll.clientWidth,
            below: cells.every(cell => cell.getBoundingClientRect().bottom <= decision.top + 1),
            wide: decision.width / row.getBoundingClientRect().width,
            aligned: cells.every((cell, index) => {
              const heads = [...row.closest("table").rows[0].cells].filter(head => head.offsetParent !== null)
              return Math.abs(heads[index].getBoundingClientRect().left - cell.getBoundingClientRect().left) < 1
            }),
          }
        })
    """)
    assert len(stages) > 1
    for stage in stages:
        assert (stage["spilt"], stage["below"], stage["aligned"]) == (0, True, True)
        assert stage["wide"] > 0.95


def test_light_and_dark_are_of_different_paper(tab: Tab, page: Path) -> None:
    papers = []
    for scheme in ("light", "dark"):
        tab.open(page, scheme=scheme, width=1280)
        papers.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers[0] != papers[1]


@pytest.mark.parametrize(
    "broken",
    [
        "<script>console.log('loud')</script>",
        "<img src='data.png'>",
        "<link rel='stylesheet' href='http://127.0.0.1:9/style.css'>",
    ],
)
def test_a_page_with_a_problem_is_noticed(broken: str, tab: Tab, page: Path) -> None:
    """The policy of the page forbids each of these, and the console says so."""
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{broken}</body>"), encoding="utf-8")
    tab.open(page, scheme="light", width=1280)
    tab.evaluate("1")
    assert problems(tab)
