"""Raw values as the graph's inputs: the one place that says what a missing value is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from stepworks.serving.manifest import InputTensor


def tensor(values: Iterable[float | str | None], wanted: InputTensor) -> npt.NDArray[Any]:
    """One raw column as the graph takes it.

    Args:
        values: Numbers for FP32, texts for BYTES; `None` is missing.
        wanted: The column's place in the signature.

    Returns:
        Shape [rows, 1]: float32 with NaN for missing, or texts with "" for missing.

    Raises:
        TypeError: A text stands for a number, or a number for a text.
    """
    column = list(values)
    is_text = wanted.datatype == "BYTES"
    for value in column:
        if value is not None and isinstance(value, str) is not is_text:
            raise TypeError(f"{wanted.name} is {'not a text' if is_text else 'a text'}: {value!r}")
    if is_text:
        return np.array([value or "" for value in column], dtype=np.object_).reshape(-1, 1)
    return np.array(column, dtype=np.float32).reshape(-1, 1)  # numpy makes NaN of None
