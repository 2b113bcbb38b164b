"""Kubernetes quantities, as far as CPU and memory use them."""

from __future__ import annotations

import re
from decimal import Decimal

_CPU = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<milli>m?)")
_MEMORY = re.compile(r"(?P<number>[0-9]+)(?P<unit>Ei|Pi|Ti|Gi|Mi|Ki|E|P|T|G|M)?")
_DECIMAL_UNITS = "KMGTPE"


def parse_cpu(text: str) -> Decimal:
    """Return a CPU quantity in cores: `500m` is 0.5, `2` is 2.

    Raises:
        ValueError: KFP does not take the text as a CPU quantity.
    """
    match = _CPU.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a CPU quantity such as 500m, 2 or 1.5")
    return Decimal(match["number"]) / (1000 if match["milli"] else 1)


def parse_memory(text: str) -> int:
    """Return a memory quantity in bytes: `4Gi` is 4294967296.

    KFP takes whole numbers only, so `1.5Gi` is refused here, before KFP would. `500K` is refused, too: KFP takes it
    and Kubernetes, which knows only the small `k` that KFP refuses, does not.

    Raises:
        ValueError: KFP and Kubernetes do not both take the text as a memory quantity.
    """
    match = _MEMORY.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a memory quantity such as 512Mi or 16Gi, in whole numbers")
    unit = match["unit"] or ""
    if not unit:
        return int(match["number"])
    power = _DECIMAL_UNITS.index(unit[0]) + 1
    base = 1024 if unit.endswith("i") else 1000
    return int(int(match["number"]) * base**power)
