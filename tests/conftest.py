"""What tests of several folders use."""

from collections.abc import Iterator

import pytest

from tests.browser import Tab, open_tab


@pytest.fixture(scope="module")  # other tests count the processes of this one
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page in a real browser."""
    with open_tab(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
