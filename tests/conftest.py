"""What tests of several folders use."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.browser import Tab, open_tab

# What the tests compute is small, and threads of OpenMP spin while they wait for each other: beside any other work they
# take several times as long as one thread does. Before torch is imported, and for every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has them ignore SIGINT, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")  # other tests count the processes of this one
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page in a real browser."""
    with open_tab(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
