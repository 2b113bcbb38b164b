"""A plain distributed script: `command=["python", "-m", "stepworks.examples.plain_ddp", "--target", "late"]`.

It knows nothing of Stepworks but the environment variables by which it finds its places. torchrun starts it in each
process and tells it who it is; where there is one process only, plain python does, and there is no process group.

It is killed at any instant and started again, and then goes on as if nothing had happened: the state is replaced in one
go, and the order of the data is a function of the step.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
STATE = Path(os.environ["STEPWORKS_CHECKPOINTS"]) / "state.pt"
MODEL = Path(os.environ["STEPWORKS_MODEL"])
TRY_AGAIN = 75  # The exit code that says: the state is kept, start me again.


def join() -> torch.device:
    """Join the other processes, and return this one's device."""
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if WORLD > 1:
        dist.init_process_group(backend="nccl" if gpu else "gloo")
    return device


def read(target: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of a Parquet file: all columns, and the one of 0 and 1 that is to be predicted from them."""
    table = pq.read_table(os.environ["STEPWORKS_INPUT_TRAIN"])
    columns = {name: torch.from_numpy(table[name].to_numpy().astype("float32")) for name in table.column_names}
    targets = columns.pop(target)
    columns.pop("row_id", None)
    return torch.stack(list(columns.values()), dim=1), targets[:, None]


def batch_at(step: int, samples: int, batch: int) -> torch.Tensor:
    """This process's share of the samples of a step: the same in each attempt, whatever was read before."""
    epoch, number = divmod(step, samples // batch)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(epoch))
    return order[number * batch : (number + 1) * batch][RANK::WORLD]


def save(state: dict[str, Any]) -> None:
    """Replace the state on the disk: a kill leaves the one before or this one, and nothing in between."""
    writing = STATE.with_suffix(".writing")
    with writing.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    writing.replace(STATE)


def report(**figures: Any) -> None:
    """Add a line to the metrics."""
    if RANK == 0:
        with Path(os.environ["STEPWORKS_METRICS"]).open("a") as file:
            file.write(json.dumps(figures) + "\n")


def is_told_to_stop(told: list[int], device: torch.device) -> bool:
    """Whether any process got SIGTERM: all have to stop after the same step, or the others wait for ever."""
    flag = torch.tensor(float(bool(told)), device=device)
    if WORLD > 1:
        dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def train(target: str, steps: int, batch: int, save_every: int) -> None:
    """Train to the last step, or until SIGTERM; rank 0 keeps the state and writes the model."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    device = join()
    features, targets = read(target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(features.shape[1], 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    step = 0
    if STATE.exists():
        state = torch.load(STATE, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        report(kind="resumed", step=step)  # Lines of later steps, of the attempt before, do not count any more.
    replica = DistributedDataParallel(model) if WORLD > 1 else model
    while step < steps:
        indices = batch_at(step, len(targets), batch)
        outputs = replica(features[indices].to(device))
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, targets[indices].to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
        stopping = is_told_to_stop(told, device)
        if step % save_every == 0 or step == steps or stopping:
            report(step=step, loss=float(loss))
            if RANK == 0:
                save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
        if stopping:
            sys.exit(TRY_AGAIN)
    if RANK == 0:
        MODEL.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), MODEL / "model.safetensors")
    if WORLD > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=256, help="samples a step; the processes share it evenly")
    parser.add_argument("--save-every", type=int, default=50, help="steps between two states that are kept")
    train(**vars(parser.parse_args()))
