"""What tests of several folders use."""

import signal
from collections.abc import Iterator

import pytest

from tests.browser import Tab, open_tab

# A shell that starts the tests in the background has them ignore SIGINT, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")  # other tests count the processes of this one
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page in a real browser."""
    with open_tab(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
