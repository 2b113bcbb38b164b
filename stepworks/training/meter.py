"""The figures of a training step: what was done a second, how long it waited, how much of the device it used."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

_PEAK_FLOPS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}
"""Dense bfloat16 operations a second by a part of the device's name, the more exact names first."""


def peak_flops(device_name: str) -> float | None:
    """The dense bfloat16 operations a second that the maker states; None for a device that is not known."""
    return next((peak for part, peak in _PEAK_FLOPS.items() if part in device_name), None)


@dataclass
class Meter:
    """Counts what was done since the last line of metrics.

    Attributes:
        devices: How many processes share the work.
        device: This process's device.
        model: What is trained. Its `flops_per_sample`, where it has that, are its operations for one sample, forward
            and backward; they are asked for each time, since a model may know them only once it has seen samples.
        clock: Seconds; it never goes back.
    """

    devices: int
    device: torch.device
    model: object = None
    clock: Callable[[], float] = time.perf_counter
    samples: int = 0
    tokens: int = 0
    waited: float = 0.0
    stalled: float = 0.0
    peak: float | None = field(init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self.peak = peak_flops(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
        self._since = self.clock()

    def add(self, *, samples: int, tokens: int, waited: float) -> None:
        """Count a step: samples and tokens of all processes, and the seconds this one waited for data."""
        self.samples += samples
        self.tokens += tokens
        self.waited += waited

    def take(self) -> dict[str, float | None]:
        """The figures since the last call, which begins anew.

        `mfu` is model FLOPs utilisation: operations of the model a second and device over the device's stated peak;
        None where either is not known.
        """
        now = self.clock()
        seconds = max(now - self._since, 1e-9)
        per_sample: float | None = getattr(self.model, "flops_per_sample", None)
        flops = per_sample * self.samples / seconds / self.devices if per_sample else None
        figures: dict[str, float | None] = {
            "seconds": seconds,
            "samples_per_second": self.samples / seconds,
            "data_wait_seconds": self.waited,
            "data_wait_share": self.waited / seconds,
            "checkpoint_stall_seconds": self.stalled,
            "flops_per_second_and_device": flops,
            "mfu": flops / self.peak if flops and self.peak else None,
        }
        if self.tokens:
            figures["tokens_per_second"] = self.tokens / seconds
        if self.device.type == "cuda":
            figures["gpu_memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self.samples = self.tokens = 0
        self.waited = self.stalled = 0.0
        self._since = now
        return figures
