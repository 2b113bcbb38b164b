"""Amounts of resources as Kubernetes writes them, added and compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal

_QUANTITY = re.compile(r"(?P<number>[+-]?[0-9]*\.?[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]+)|(?P<suffix>[a-zA-Z]{0,2}))")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {f"{letter}i": 1 << 10 * (power + 1) for power, letter in enumerate("KMGTPE")}

Amounts = dict[str, Decimal]
"""How much of each resource, in cores, bytes or pieces."""


def parse_amount(text: str | int | float) -> Decimal:
    """Read a quantity of the Kubernetes API: `500m`, `16Gi`, `1e3`, `2`.

    Raises:
        ValueError: It is none.
    """
    match = _QUANTITY.fullmatch(str(text))
    if not match:
        raise ValueError(f"{text!r} is no quantity of Kubernetes such as 500m, 16Gi or 2")
    number, suffix = Decimal(match["number"]), match["suffix"] or ""
    if match["exponent"]:
        return number.scaleb(int(match["exponent"]))
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix not in _SUFFIXES:
        raise ValueError(f"{text!r} has the unknown suffix {suffix}")
    return number.scaleb(_SUFFIXES[suffix])


def parse_amounts(texts: Mapping[str, str | int | float]) -> Amounts:
    """Read the quantities of several resources.

    Raises:
        ValueError: One of them is no quantity.
    """
    return {name: parse_amount(text) for name, text in texts.items()}


def total(many: Iterable[Mapping[str, Decimal]]) -> Amounts:
    """Add amounts up, resource by resource."""
    summed: Amounts = {}
    for each in many:
        for name, amount in each.items():
            summed[name] = summed.get(name, Decimal(0)) + amount
    return summed


def times(amounts: Mapping[str, Decimal], factor: int) -> Amounts:
    """Multiply amounts."""
    return {name: amount * factor for name, amount in amounts.items()}


def amount_text(name: str, amount: Decimal) -> str:
    """Write an amount as people write that of its resource: `1500m` CPU, `64Gi` memory, `8` pieces.

    Args:
        name: The resource, also as a quota calls it: `requests.memory`.
        amount: How much, in cores, bytes or pieces; parts of a byte and of a thousandth of a core are rounded up.
    """
    if name.endswith(("memory", "storage")):
        rounded = int(amount.to_integral_value(ROUND_CEILING))
        for suffix, size in reversed(_BINARY.items()):
            if rounded and rounded % size == 0:
                return f"{rounded // size}{suffix}"
        mebibytes = Decimal(rounded) / _BINARY["Mi"]
        return str(rounded) if abs(mebibytes) < 1 else f"{mebibytes.to_integral_value(ROUND_CEILING)}Mi"
    if amount == amount.to_integral_value():
        return str(int(amount))
    return f"{int((amount * 1000).to_integral_value(ROUND_CEILING))}m"


def amounts_text(amounts: Mapping[str, Decimal]) -> str:
    """Write amounts in one line: `1 nvidia.com/gpu, 8 cpu, 64Gi memory`."""
    ordered = sorted(amounts, key=lambda name: (name in ("cpu", "memory"), name))
    return ", ".join(f"{amount_text(name, amounts[name])} {name}" for name in ordered)
