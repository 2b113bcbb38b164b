import json
from pathlib import Path

import pytest
import torch

from stepworks.training.metrics import Meter, MetricsFile, peak_flops, read_metrics

CPU = torch.device("cpu")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_figures_of_known_times_are_exact() -> None:
    clock = Clock()
    meter = Meter(devices=4, device=CPU, flops_per_sample=2e9, clock=clock)
    meter.peak = 1e12
    for _ in range(10):
        meter.add(samples=80, tokens=8000, waited=0.01)
    meter.stalled = 0.5
    clock.now += 2
    figures = meter.take()
    assert figures == {
        "seconds": 2.0,
        "samples_per_second": 400.0,
        "tokens_per_second": 40_000.0,
        "data_wait_seconds": pytest.approx(0.1),
        "data_wait_share": pytest.approx(0.05),
        "checkpoint_stall_seconds": 0.5,
        "flops_per_second_and_device": 2e11,
        "mfu": 0.2,
    }
    clock.now += 1
    assert meter.take()["samples_per_second"] == 0


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", None),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device_that_is_not_known_is_none(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_utilisation_is_null_where_device_or_model_is_not_known() -> None:
    meter = Meter(devices=1, device=CPU, flops_per_sample=2e9)
    meter.add(samples=8, tokens=0, waited=0)
    assert meter.take()["mfu"] is None
    assert Meter(devices=1, device=CPU).take()["flops_per_second_and_device"] is None


def test_a_line_that_was_torn_by_a_kill_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path).write("step", step=1, loss=0.1 + 0.2)
    with path.open("ab") as file:
        file.write(b'{"kind": "step", "st')
    MetricsFile(path).write("step", step=2, loss=float("nan"))
    lines = read_metrics(path)
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 0.1 + 0.2), (2, None)]
    assert all(json.dumps(line) for line in lines)


def test_steps_that_a_resumed_run_takes_again_count_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    for step in (1, 2, 3, 4):
        file.write("step", step=step, samples=step * 8, loss=1.0)
    file.write("resumed", step=2)
    for step in (3, 4):
        file.write("step", step=step, samples=step * 8, loss=2.0)
    steps = [line for line in read_metrics(path) if line["kind"] == "step"]
    assert [(line["step"], line["samples"], line["loss"]) for line in steps] == [
        (1, 8, 1.0),
        (2, 16, 1.0),
        (3, 24, 2.0),
        (4, 32, 2.0),
    ]


def test_no_file_is_no_lines_and_other_ranks_write_none(tmp_path: Path) -> None:
    MetricsFile(None).write("step", step=1)
    assert read_metrics(tmp_path / "absent") == []
    (tmp_path / "other").write_text("[1]\n3\n")
    assert read_metrics(tmp_path / "other") == []
