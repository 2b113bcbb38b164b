"""What a checkpoint holds, and how it is put back.

Weights and optimizer are written by torch.distributed.checkpoint under the parameters' full names, so that they can be
read by another number of processes and by another strategy. `state.json` holds what is the same in every process: the
schedule, the scaler, the counters and the position in the data. `random-<rank>.json` holds the state of each process's
generators, so that dropout goes on as if nothing had happened.

Weights that are not trained, as those beneath LoRA adapters, are not in it: the model builder makes them again. That
they are the same then is told by their digest, which is of the run's identity.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load

from stepworks.errors import CheckpointError

STATE_FILE = "state.json"
Tensors = dict[str, Any]
"""Nested dictionaries of tensors, whole or sharded, by the names of parameters."""

_WITHOUT_FROZEN = StateDictOptions(strict=False)
"""How to put weights in place; DCP's reader has seen by then that each trained one is there."""
_VALUES_IN_DIGEST = 1024

logger = logging.getLogger(__name__)


def random_file(rank: int) -> str:
    """The name of the file with the state of a process's random generators."""
    return f"random-{rank:05d}.json"


def tensors_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """The trained weights, buffers and optimizer state, as they are now; they share memory with the originals."""
    weights, state = get_state_dict(model, optimizer)
    return {"model": _without_frozen(weights, model), "optimizer": state}


def load_tensors(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, group: dist.ProcessGroup | None
) -> None:
    """Put a checkpoint's weights and optimizer state in place; every process of the group takes part.

    Raises:
        CheckpointError: They do not fit the model, though the manifest is of the same run.
    """
    tensors = tensors_of(model, optimizer)
    _load(tensors, folder, group)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=tensors["model"],
        optim_state_dict=tensors["optimizer"],
        options=_WITHOUT_FROZEN,
    )


def load_weights(folder: Path, model: nn.Module, group: dist.ProcessGroup | None) -> None:
    """Put a checkpoint's weights in place and nothing else; every process of the group takes part.

    Raises:
        CheckpointError: They do not fit the model.
    """
    weights = _without_frozen(get_model_state_dict(model), model)
    _load({"model": weights}, folder, group)
    set_model_state_dict(model, weights, options=_WITHOUT_FROZEN)


def frozen_digest(model: nn.Module) -> str | None:
    """A digest of the weights that are not trained; None if all are.

    It is of names, shapes, and at most two thousand values of each, so that it takes no time for a large model: another
    base model is seen, a single changed value may not be.
    """
    digest: Any = None
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            continue
        digest = digest or hashlib.sha256()
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // _VALUES_IN_DIGEST)].cpu().contiguous()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype} ".encode())
        digest.update(sample.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest() if digest else None


def _without_frozen(weights: Tensors, model: nn.Module) -> Tensors:
    # Not DCP's own option: of a frozen weight with two names, as of a head that is the embedding, it leaves one.
    frozen = {name for name, each in model.named_parameters(remove_duplicate=False) if not each.requires_grad}
    return {name: tensor for name, tensor in weights.items() if name not in frozen}


def _load(tensors: Tensors, folder: Path, group: dist.ProcessGroup | None) -> None:
    try:
        with quiet():
            load(tensors, checkpoint_id=folder, process_group=group, no_dist=group is None)
    except CheckpointException as error:
        reason = next(iter(error.failures.values()))[0]
        raise CheckpointError(
            f"The state of the checkpoint {folder} does not fit the model",
            received=f"{type(reason).__name__}: {(str(reason).splitlines() or [''])[0]}",
            expected="the parameters that the model has now, with the same shapes",
            what_to_do="Train with the code that wrote the checkpoint, or give another checkpoint folder.",
        ) from error


def read_state(folder: Path) -> dict[str, Any]:
    """What `state.json` of a checkpoint says."""
    content: dict[str, Any] = json.loads((folder / STATE_FILE).read_bytes())
    return content


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators, as JSON can hold it.

    Of CUDA it is the current device's only: reading all of them would make a context on each.
    """
    version, internal, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    return {
        "python": [version, list(internal), gauss],
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()}},
        "torch": _to_text(torch.get_rng_state()),
        "cuda": _to_text(torch.cuda.get_rng_state(device)) if device.type == "cuda" else None,
    }


def restore_random_state(folder: Path, rank: int, device: torch.device) -> bool:
    """Put the generators of a process into the state that a checkpoint has for its rank.

    Returns:
        Whether the checkpoint has one: it does not where it was written by fewer processes.
    """
    path = folder / random_file(rank)
    if not path.is_file():
        return False
    state = json.loads(path.read_bytes())
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(_to_tensor(state["torch"]))
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(_to_tensor(state["cuda"]), device)
    numpy_state = state["numpy"]
    numpy_state["state"]["key"] = np.array(numpy_state["state"]["key"], dtype=np.uint32)
    np.random.set_state(numpy_state)
    return True


def _to_text(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _to_tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep DCP's remark that one process needs no process group out of the log."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.distributed.*", category=UserWarning)
        yield
