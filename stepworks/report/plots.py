"""Plots as inline SVG: small pure functions from a document to a drawing.

The text of a plot stays text, and its colours are the page's CSS variables, so one drawing reads well on light and
on dark paper. The same document gives the same bytes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from stepworks.report.documents import (
    CalibrationBin,
    Curve,
    EvaluationDocument,
    PeriodRate,
    TrainingDocument,
    TuningDocument,
)
from stepworks.report.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Matplotlib knows no CSS variables: it draws in colours that are used for nothing else, replaced in its output.
_INK, _QUIET, _HAIRLINE, _ACCENT, _SECOND, _PAPER = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
_VARIABLES = {
    _INK: "--ink",
    _QUIET: "--quiet",
    _HAIRLINE: "--hairline",
    _ACCENT: "--accent",
    _SECOND: "--second",
    _PAPER: "--paper",
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a value of the data may hold a dollar sign
    "font.size": 10,
    "axes.edgecolor": _QUIET,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "grid.color": _HAIRLINE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "text.color": _INK,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}

_DECADES = 100
"""A parameter whose values are so far apart is drawn on a logarithmic scale."""
_THIRD = (262, 232)
_HALF = (410, 225)
"""Sizes in CSS pixels: three plots side by side, and two."""


def roc_plot(evaluation: EvaluationDocument, name: str) -> Markup:
    """The ROC curve, and the diagonal of a model that knows nothing."""
    with _drawing(name, "ROC curve", _THIRD) as (axes, finish):
        axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.9, dashes=(3, 3))
        _area(axes, evaluation.roc)
        axes.set(xlabel="False positive rate", ylabel="True positive rate")
        _unit_square(axes)
    return finish()


def precision_recall_plot(evaluation: EvaluationDocument, name: str) -> Markup:
    """The precision-recall curve, and the share of positives, which a model that knows nothing reaches."""
    share = evaluation.positives / evaluation.rows
    with _drawing(name, "Precision-recall curve", _THIRD) as (axes, finish):
        axes.plot([0, 1], [share, share], color=_QUIET, linewidth=0.9, dashes=(3, 3))
        _area(axes, evaluation.precision_recall)
        axes.set(xlabel="Recall", ylabel="Precision")
        _unit_square(axes)
    return finish()


def calibration_plot(bins: list[CalibrationBin], name: str) -> Markup:
    """How often it came true over what was predicted, with the 95 % range that chance alone gives each group."""
    predicted = [group.mean_predicted for group in bins]
    observed = [group.observed_rate for group in bins]
    chance = [1.96 * (group.observed_rate * (1 - group.observed_rate) / group.rows) ** 0.5 for group in bins]
    highest = min(1.0, 1.1 * max(*predicted, *observed, 0.05))
    with _drawing(name, "Calibration", _THIRD) as (axes, finish):
        axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.9, dashes=(3, 3))
        axes.errorbar(predicted, observed, yerr=chance, color=_ACCENT, linewidth=1.2, fmt="-o", markersize=4)
        axes.set(xlabel="Mean predicted probability", ylabel="Observed rate", xlim=(0, highest), ylim=(0, highest))
    return finish()


def loss_plot(training: TrainingDocument, name: str) -> Markup:
    """Training and validation loss by epoch."""
    epochs = [epoch.epoch for epoch in training.epochs]
    with _drawing(name, "Loss by epoch", _HALF) as (axes, finish):
        _line(axes, epochs, [epoch.train_loss for epoch in training.epochs], _SECOND, "training")
        _validated(axes, {epoch.epoch: epoch.validation_loss for epoch in training.epochs})
        _best_epoch(axes, training)
        axes.set(xlabel="Epoch", ylabel="Loss")
        axes.legend(loc="upper right")
    return finish()


def auc_plot(training: TrainingDocument, name: str) -> Markup:
    """Validation AUC by epoch, the best epoch marked."""
    with _drawing(name, "Validation AUC by epoch", _HALF) as (axes, finish):
        _validated(axes, {epoch.epoch: epoch.validation_auc for epoch in training.epochs})
        _best_epoch(axes, training)
        axes.set(xlabel="Epoch", ylabel="Validation AUC")
    return finish()


def trials_plot(tuning: TuningDocument, name: str) -> Markup:
    """The figure of each trial in the order of the trials, and the best so far."""
    better = min if tuning.goal == "minimize" else max
    counted = [each.metrics.get(tuning.metric) if each.counts else None for each in tuning.trials]
    found = {number: value for number, value in enumerate(counted, start=1) if value is not None}
    with _drawing(name, f"{tuning.metric} by trial", _THIRD) as (axes, finish):
        axes.scatter(list(found), list(found.values()), color=_SECOND, s=14)
        best = list(itertools.accumulate(found.values(), better))
        axes.step(list(found), best, where="post", color=_ACCENT, label="the best so far")
        _whole_numbers(axes)
        axes.set(xlabel="Trial", ylabel=tuning.metric)
        axes.legend(loc="best")
    return finish()


def parameter_plot(tuning: TuningDocument, parameter: str, name: str) -> Markup:
    """The figure of each trial by the value of one parameter."""
    points = [
        (each.parameters[parameter], each.metrics[tuning.metric])
        for each in tuning.trials
        if each.counts and tuning.metric in each.metrics
    ]
    values = [value for value, _ in points]
    named = any(isinstance(value, bool | str) for value in values)
    numbers = [value for value in values if not isinstance(value, bool | str)]
    with _drawing(name, f"{tuning.metric} by {parameter}", _THIRD) as (axes, finish):
        axes.scatter([str(v) for v in values] if named else numbers, [y for _, y in points], color=_ACCENT, s=14)
        if numbers and min(numbers) > 0 and max(numbers) / min(numbers) >= _DECADES:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set(xlabel=parameter, ylabel=tuning.metric)
    return finish()


def period_plot(periods: list[PeriodRate], overall: float, name: str) -> Markup:
    """How often the target was true in each period, and over all of them."""
    with _drawing(name, "Target rate by period", _HALF) as (axes, finish):
        places = range(len(periods))
        axes.bar(places, [100 * period.rate for period in periods], color=_ACCENT, alpha=0.8, width=0.5)
        axes.axhline(100 * overall, color=_INK, linewidth=0.9, dashes=(3, 3))
        every = -(-len(periods) // 6)
        axes.set_xticks(list(places)[::every], [period.period for period in periods][::every])
        axes.set(ylabel="Rate, %")
        axes.grid(visible=False, axis="x")
    return finish()


def _area(axes: Axes, curve: Curve) -> None:
    axes.fill_between(curve.x, curve.y, color=_ACCENT, alpha=0.1, linewidth=0)
    axes.plot(curve.x, curve.y, color=_ACCENT)


def _unit_square(axes: Axes) -> None:
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(0, 1), ylim=(0, 1.005), xticks=ticks, yticks=ticks)
    axes.set_xticklabels(["0", "", "0.5", "", "1"])
    axes.set_yticklabels(["0", "", "0.5", "", "1"])


def _validated(axes: Axes, values: Mapping[int, float | None]) -> None:
    """The line of a figure of the validation, over the epochs that have it."""
    found = {epoch: value for epoch, value in values.items() if value is not None}
    _line(axes, list(found), list(found.values()), _ACCENT, "validation")


def _line(axes: Axes, x: list[int], y: list[float], color: str, label: str) -> None:
    axes.plot(x, y, color=color, label=label, marker="o", markersize=3)
    _whole_numbers(axes)


def _whole_numbers(axes: Axes) -> None:
    """Mark the horizontal axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _best_epoch(axes: Axes, training: TrainingDocument) -> None:
    axes.axvline(training.best_epoch, color=_INK, linewidth=0.9, dashes=(3, 3))


@contextmanager
def _drawing(name: str, label: str, size: tuple[int, int]) -> Iterator[tuple[Axes, Callable[[], Markup]]]:
    """Axes to draw on, and a function that gives the drawing once the block has ended.

    Args:
        name: Unique in the page; the ids inside the drawing are made from it.
        label: What the plot shows, for those who cannot see it.
        size: Width and height in CSS pixels.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    written = StringIO()
    widest = round(1.2 * size[0])  # beyond, the text of a plot would be larger than the page's
    with rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
        yield figure.add_subplot(), lambda: _as_markup(written.getvalue(), label, widest)
        figure.savefig(written, format="svg", metadata={"Date": None})


def _as_markup(svg: str, label: str, widest: int) -> Markup:
    """Make matplotlib's file a part of a page: no prologue, no fixed size, the page's font and colours."""
    svg = svg[svg.index("<svg") :]
    # Its style rule would hold for the whole page; the page's own style sheet has it for plots.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    tag = f'<svg class="plot" style="max-width:{widest}px" {box[0]} role="img" aria-label="{escape(label)}">'
    svg = re.sub(r"<svg[^>]*>", tag, svg, count=1)
    # Groups are named figure_1, axes_1 in every drawing; only what is referred to keeps its id.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r' (d|x|y|x1|y1|x2|y2)="[^"]*"', lambda found: _rounded(found[0]), svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return Markup(re.sub(r"\n\s*", "\n", svg))


def _rounded(coordinates: str) -> str:
    """Coordinates to a hundredth of a pixel, on one line."""
    return re.sub(r"(\.\d\d)\d+", r"\1", " ".join(coordinates.split("\n"))).replace("  ", " ")
