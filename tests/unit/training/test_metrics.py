import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stepworks.training.meter import Meter, peak_flops
from stepworks.training.metrics import MetricsFile, read_metrics

CPU = torch.device("cpu")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_figures_of_known_times_are_exact() -> None:
    clock = Clock()
    meter = Meter(devices=4, device=CPU, model=SimpleNamespace(flops_per_sample=2e9), clock=clock)
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
    meter = Meter(devices=1, device=CPU, model=SimpleNamespace(flops_per_sample=2e9))
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


def write_steps(path: Path, first: int, last: int, loss: float) -> None:
    for step in range(first, last + 1):
        MetricsFile(path).write("step", step=step, loss=loss)


def test_what_an_attempt_takes_again_is_dropped_when_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path).begin(0)
    assert not path.exists()
    write_steps(path, 1, 2, 1.0)
    MetricsFile(path).begin(0)  # It ended before its first checkpoint.
    write_steps(path, 1, 4, 2.0)
    kept = path.read_bytes().splitlines(keepends=True)[:2]
    with path.open("ab") as file:
        file.write(b'{"kind": "step", "st')  # torn by the kill
    MetricsFile(path).begin(2)
    write_steps(path, 3, 4, 3.0)
    assert path.read_bytes().startswith(b"".join(kept))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("step", 1),
        ("step", 2),
        ("resumed", 2),
        ("step", 3),
        ("step", 4),
    ]
    assert lines[2]["lost_steps"] == 2
    assert read_metrics(path) == lines


def test_a_line_resumed_of_a_command_has_later_steps_before_it_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 1, "loss": 1}, {"step": 2, "loss": 1}, {"kind": "resumed", "step": 1}, {"step": 2, "loss": 2}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_metrics(path) == [lines[0], lines[2], lines[3]]


def test_metrics_are_read_without_torch() -> None:
    program = "import sys, stepworks.training.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_file_is_no_lines_and_other_ranks_write_none(tmp_path: Path) -> None:
    MetricsFile(None).write("step", step=1)
    assert read_metrics(tmp_path / "absent") == []
    (tmp_path / "other").write_text("[1]\n3\n")
    assert read_metrics(tmp_path / "other") == []
