"""What the engine does around a step, whatever the strategy."""

from __future__ import annotations

import torch
from torch import nn

from stepworks.training.parallel import Engine
from stepworks.training.process_group import Processes
from stepworks.training.spec import LoopSettings, ParallelSettings


class Watched(nn.Module):
    """Notes the mode of each forward pass, and how often it was put into one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.modes: list[bool] = []
        self.changes = 0

    def train(self, mode: bool = True) -> Watched:
        self.changes += 1
        return super().train(mode)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        outputs: torch.Tensor = self.layer(features).squeeze(-1)
        return outputs

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(outputs, targets)


def test_the_mode_is_that_of_the_pass_and_is_set_only_where_it_changes() -> None:
    model = Watched()
    engine = Engine(
        model, LoopSettings(batch_size=4), ParallelSettings(device="cpu"), Processes(device=torch.device("cpu")), 10
    )
    inputs, targets = (torch.ones(4, 2),), torch.ones(4)
    for _ in range(2):
        for _ in range(3):
            engine.accumulate(inputs, targets)
        for _ in range(2):
            engine.evaluate(inputs, targets)
    assert model.modes == [True, True, True, False, False] * 2
    assert model.changes == 4  # it walks through every module, which in each step would be felt
