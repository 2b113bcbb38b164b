"""Labels that number classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepworks.errors import DataError


def refuse_other_labels(values: NDArray[np.generic], classes: int, what: str) -> None:
    """Refuse values that are not the numbers of classes.

    Args:
        values: The labels.
        classes: How many classes there are.
        what: What holds them, as a message begins.

    Raises:
        DataError: One is no whole number from 0 to `classes` - 1.
    """
    others = values[~np.isin(values, np.arange(classes))]
    if len(others):
        raise DataError(
            f"{what} holds labels of no class",
            received=f"{len(others)} of {values.size}, such as {others[0]}",
            expected="0 and 1" if classes == 2 else f"whole numbers from 0 to {classes - 1}",
            what_to_do="Correct the labels when the data is prepared.",
        )
