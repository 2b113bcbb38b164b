"""The figures of a validation, over all processes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from stepworks.errors import TrainingError
from stepworks.training.data.samples import Samples
from stepworks.training.parallel import Engine

AREA_UNDER_CURVE = "validation_auc"
LOSS = "validation_loss"


def validate(engine: Engine, samples: Samples, *, batch_size: int, monitor: str) -> dict[str, float]:
    """Run a model over all validation samples.

    Args:
        engine: The model, on all processes; each takes its share of the samples.
        samples: What to validate on.
        batch_size: Samples at once, a process.
        monitor: The figure that is wanted; the area under the ROC curve is computed only for it.

    Returns:
        `validation_loss`; `validation_auc`, if it is monitored; and `validation_<name>` of what the model's
        `figures(outputs, targets)` gives, tensors of one value a sample, their means. All processes get the same.

    Raises:
        TrainingError: The monitored figure is not finite, or the area is wanted and a class is absent.
    """
    processes = engine.processes
    count = torch.zeros((), dtype=torch.float64, device=processes.device)
    sums: dict[str, torch.Tensor] = {LOSS: torch.zeros_like(count)}
    scores, labels = [], []
    figures = getattr(engine.model, "figures", None)
    with torch.no_grad():
        for indices, counts in _batches(len(samples), batch_size, processes.rank, processes.world):
            inputs, targets = samples.take(indices)
            targets = targets.to(processes.device)
            loss, outputs = engine.evaluate(tuple(tensor.to(processes.device) for tensor in inputs), targets)
            # Also where nothing counts: all processes have to add up the same figures.
            for name, values in (figures(outputs, targets) if figures else {}).items():
                total = sums.setdefault(f"validation_{name}", torch.zeros_like(count))
                total += values.double().sum() * counts
            if not counts:
                continue
            count += len(indices)
            sums[LOSS] += loss.double() * len(indices)
            if monitor == AREA_UNDER_CURVE:
                scores.append(outputs.float().cpu())
                labels.append(targets.cpu())
    total = processes.sum(count)
    result = {name: float(processes.sum(value) / total) for name, value in sums.items()}
    if monitor == AREA_UNDER_CURVE:
        result[monitor] = _area_of_all(engine, scores, labels)
    if not math.isfinite(result[monitor]):
        raise TrainingError(
            f"The {monitor} is not finite",
            received=str(result[monitor]),
            expected="a number by which epochs can be compared",
            what_to_do="Lower learning_rate, or look for extreme values in the validation data.",
        )
    return result


def _batches(samples: int, size: int, rank: int, world: int) -> Iterator[tuple[torch.Tensor, bool]]:
    """This process's batches, and whether each counts.

    Every process gets as many, since sharded weights are gathered by all at once: who has none left repeats the first.
    """
    batches = torch.split(torch.arange(samples), size)
    for first in range(0, len(batches), world):
        own = first + rank
        yield batches[own if own < len(batches) else 0], own < len(batches)


def _area_of_all(engine: Engine, scores: list[torch.Tensor], labels: list[torch.Tensor]) -> float:
    """The area on rank 0, told to all; its error is raised by all."""
    processes = engine.processes
    gathered = [processes.gather(torch.cat(part) if part else torch.zeros(0)) for part in (scores, labels)]
    answer: float | TrainingError = 0.0
    if gathered[0] is not None and gathered[1] is not None:
        try:
            answer = area_under_curve(torch.cat(gathered[0]), torch.cat(gathered[1]))
        except TrainingError as error:
            answer = error
    answer = processes.from_rank_0(answer)
    if isinstance(answer, TrainingError):
        raise answer
    return answer


def area_under_curve(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The area under the ROC curve as the Mann-Whitney U statistic over its greatest value; ties count one half.

    Args:
        scores: float of shape [rows]; higher means more likely positive.
        labels: 0 and 1, of shape [rows].

    Raises:
        TrainingError: A label is neither, or a class is absent.
    """
    others = labels[(labels != 0) & (labels != 1)]
    if len(others):
        raise TrainingError(
            "The validation rows have labels of no class",
            received=f"{len(others)} labels, such as {others[0].item():g}",
            expected="0 and 1",
            what_to_do="Correct the labels, or choose another figure by the parameter monitor.",
        )
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise TrainingError(
            "The validation rows have one class only",
            received=f"{positives} positive and {negatives} negative rows",
            expected="both classes",
            what_to_do="Choose the validation rows so that both classes are in them.",
        )
    _, inverse, counts = torch.unique(scores.double(), return_inverse=True, return_counts=True)
    last_rank = counts.cumsum(0).double()
    mean_rank = last_rank - (counts.double() - 1) / 2
    rank_sum = float(mean_rank[inverse][labels.bool()].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
