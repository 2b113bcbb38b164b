"""Waiting for what is to happen, in every test that has to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")


def wait_for(what: str, look: Callable[[], _Found], seconds: float = 30) -> _Found:
    """Look until there is something; give it.

    Args:
        what: What is waited for, to be told when it does not come.
        look: Looks once; anything true ends the waiting.
        seconds: How long to wait at most.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return found
