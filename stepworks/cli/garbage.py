"""Python's collector of garbage, which the command stops while it imports."""

from __future__ import annotations

import gc


def collect_garbage_again() -> None:
    """For commands that last or read much; what was imported is left alone."""
    gc.freeze()
    gc.enable()
