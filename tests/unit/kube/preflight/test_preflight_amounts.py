"""Amounts are read as Kubernetes reads them, and written as people do."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepworks.kube.preflight.amounts import amount_text, amounts_text, parse_amount, parse_amounts, total
from stepworks.kube.preflight.view import requests_of


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2", "2"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        ("16Gi", str(16 * 2**30)),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1e18"),
        ("100n", "1e-7"),
        ("1Ei", str(2**60)),
        (3, "3"),
    ],
)
def test_a_quantity_is_read(text: str, amount: str) -> None:
    assert parse_amount(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1Xi", "one", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no quantity|unknown suffix"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [("memory", "64Gi"), ("requests.memory", "1500Mi"), ("cpu", "1500m"), ("limits.cpu", "2"), ("nvidia.com/gpu", "8")],
)
def test_an_amount_is_written_as_it_was_read(name: str, text: str) -> None:
    assert amount_text(name, parse_amount(text)) == text


@given(st.integers(0, 2**50))
def test_no_memory_is_lost_in_writing_it(size: int) -> None:
    assert size <= parse_amount(amount_text("memory", Decimal(size))) < size + 2**20


def test_devices_come_before_what_goes_with_them() -> None:
    asked = parse_amounts({"memory": "64Gi", "cpu": "8", "nvidia.com/gpu": "1"})
    assert amounts_text(asked) == "1 nvidia.com/gpu, 8 cpu, 64Gi memory"
    assert total([asked, asked])["cpu"] == 16


def test_what_a_pod_is_guaranteed_is_counted_as_the_scheduler_counts_it() -> None:
    def asks(cpu: str, **more: str) -> dict[str, object]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    pod = {
        "containers": [asks("1"), {"resources": {"limits": {"nvidia.com/gpu": "2"}}}],
        "initContainers": [asks("1500m"), asks("250m", restartPolicy="Always"), asks("1")],
        "overhead": {"cpu": "100m"},
    }
    assert requests_of(pod) == {"cpu": Decimal("1.6"), "nvidia.com/gpu": Decimal(2)}
    assert requests_of({"containers": [{}]}) == {}
