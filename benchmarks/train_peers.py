"""The same model, data, batches and optimizer in the loops that others ship, written as their guides write them.

Each function yields the samples a second of each epoch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.train_case import Case, Rows, build_model


def _loader(case: Case, rows: Rows) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(
        TensorDataset(rows.features, rows.targets), batch_size=case.batch_size, shuffle=True, drop_last=True
    )


def _parts(case: Case, epochs: int) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    model = build_model(width=case.width, depth=case.depth)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * case.steps, pct_start=0.2)
    return model, optimizer, schedule


def accelerate_epochs(case: Case, rows: Rows, epochs: int) -> Iterator[float]:
    """Hugging Face accelerate."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer, loader, schedule = accelerator.prepare(
        *_parts(case, epochs)[:2], _loader(case, rows), _parts(case, epochs)[2]
    )
    loss_of = nn.functional.binary_cross_entropy_with_logits
    for _ in range(epochs):
        began = time.perf_counter()
        for features, targets in loader:
            loss = loss_of(model(features), targets)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        yield case.steps * case.batch_size / (time.perf_counter() - began)


def fabric_epochs(case: Case, rows: Rows, epochs: int) -> Iterator[float]:
    """Lightning Fabric."""
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    bare, bare_optimizer, schedule = _parts(case, epochs)
    model, optimizer = fabric.setup(bare, bare_optimizer)
    loader = fabric.setup_dataloaders(_loader(case, rows))
    loss_of = nn.functional.binary_cross_entropy_with_logits
    for _ in range(epochs):
        began = time.perf_counter()
        for features, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(model(features), targets)
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=1.0)
            optimizer.step()
            schedule.step()
        yield case.steps * case.batch_size / (time.perf_counter() - began)


class _WithLoss(nn.Module):
    """What the Trainer asks of a model: it computes its loss itself."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.model = build_model(width=case.width, depth=case.depth)

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss and the logits."""
        outputs = self.model(features)
        return {"loss": self.model.loss(outputs, labels), "logits": outputs}


class _Named(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"features": self._rows.features[index], "labels": self._rows.targets[index]}


def trainer_epochs(case: Case, rows: Rows, epochs: int) -> Iterator[float]:
    """The Trainer of transformers."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    times = []

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers has no types
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            times.append(-time.perf_counter())

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            times[-1] += time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=case.batch_size,
            learning_rate=2e-3,
            weight_decay=1e-2,
            max_grad_norm=1.0,
            dataloader_drop_last=True,
            dataloader_pin_memory=False,
            logging_steps=100,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(model=_WithLoss(case), args=arguments, train_dataset=_Named(rows), callbacks=[Clock()]).train()
    for each in times:
        yield case.steps * case.batch_size / each


PEERS: dict[str, Callable[[Case, Rows, int], Iterator[float]]] = {
    "accelerate": accelerate_epochs,
    "transformers": trainer_epochs,
    "lightning_fabric": fabric_epochs,
}
"""By the package that each needs."""
