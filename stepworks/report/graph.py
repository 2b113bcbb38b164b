"""The graph of a run's steps, laid out in layers that wrap like the lines of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stepworks.report.markup import Markup, element
from stepworks.report.run_record import StepRecord
from stepworks.report.wording import clipped, duration

NODE_WIDTH, NODE_HEIGHT = 140, 44
_BEND_HEIGHT = 8
_GAP_X, _GAP_Y, _BAND_GAP = 34, 12, 34
_MARGIN = 20
_CORNER = 6

Place = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything is, in CSS pixels.

    Attributes:
        width: Of the drawing.
        height: Of the drawing.
        places: The upper left corner of each step.
        routes: The way of each edge, as an SVG path with an arrowhead.
    """

    width: float
    height: float
    places: dict[str, Place]
    routes: dict[tuple[str, str], str]


@dataclass(frozen=True)
class _Slot:
    """A place in a layer: a step, or the bend of an edge that passes it by."""

    layer: int
    step: str
    waits_for: str | None = None  # of the edge, where the slot is a bend

    @property
    def height(self) -> int:
        return NODE_HEIGHT if self.waits_for is None else _BEND_HEIGHT


def step_graph(steps: Sequence[StepRecord], columns: int, links: Mapping[str, str]) -> Markup:
    """Draw the steps and what they wait for.

    Args:
        steps: The steps of a run, in an order in which they can run.
        columns: How many layers stand side by side before the drawing goes on below.
        links: For a step, the id of its section in the page; it may be left out.
    """
    layout = lay_out({step.name: step.depends_on for step in steps}, columns)
    return element(
        "svg",
        element("path", d="".join(layout.routes.values()), class_="edge"),
        (_node(step, layout.places[step.name], links.get(step.name)) for step in steps),
        class_=f"graph columns-{columns}",
        viewBox=f"0 0 {layout.width:g} {layout.height:g}",
        style=f"max-width:{layout.width:g}px",
        role="img",
        aria_label="The steps of the run and what they wait for",
    )


def _node(step: StepRecord, place: Place, link: str | None) -> Markup:
    took = None if step.seconds is None else duration(step.seconds)
    told = took if step.state == "succeeded" and took else step.state if took is None else f"{step.state}, {took}"
    drawn = element(
        "g",
        element("title", f"{step.name}: {step.state}" if took is None else f"{step.name}: {step.state}, {took}"),
        element("rect", width=NODE_WIDTH, height=NODE_HEIGHT, rx=5, class_="node"),
        element("circle", cx=14, cy=16.5, r=4, class_="state"),
        element("text", clipped(step.name, 18), x=26, y=20.5, class_="name"),
        element("text", clipped(told, 21), x=26, y=35, class_="detail"),
        class_=f"step {step.state}",
        transform=f"translate({place[0]:g} {place[1]:g})",
    )
    return drawn if link is None else element("a", drawn, href=f"#{link}")


def lay_out(depends_on: Mapping[str, Sequence[str]], columns: int) -> Layout:
    """Place steps so that each stands after all that it waits for.

    An edge is left out where a longer way says the same: if train waits for split and split for ingest, then train
    waits for ingest anyway.

    Args:
        depends_on: For each step, in an order in which they can run, the steps that it waits for; those that are
            not in the mapping are ignored.
        columns: How many layers stand side by side.
    """
    known = {step: [other for other in others if other in depends_on] for step, others in depends_on.items()}
    chains = _chains(_without_shortcuts(known))
    layers = _ordered_layers(chains)
    shown = min(columns, len(layers))
    width = 2 * _MARGIN + shown * NODE_WIDTH + max(shown - 1, 0) * _GAP_X
    places, bottoms = _places(layers, columns)
    wrapped = [0] * (len(bottoms) + 1)
    routes = {}
    for edge, chain in chains.items():
        if edge[0] != edge[1]:
            routes[edge] = _route([(slot, places[slot]) for slot in chain], columns, width, bottoms, wrapped)
    return Layout(
        width=width,
        height=(bottoms[-1] if bottoms else 0) + 1,
        places={slot.step: place for slot, place in places.items() if slot.waits_for is None},
        routes=routes,
    )


def _without_shortcuts(waits: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Leave out each edge for which there is a longer way."""
    before: dict[str, set[str]] = {}
    for step, others in waits.items():
        before[step] = set(others).union(*(before[other] for other in others))
    return {
        step: [other for other in others if not any(other in before[third] for third in others)]
        for step, others in waits.items()
    }


def _chains(waits: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[_Slot]]:
    """The slots of each edge, from what is waited for to the step, with a bend in each layer between.

    A step that waits for nothing has a chain of itself alone, under the key (step, step).
    """
    layer: dict[str, int] = {}
    chains: dict[tuple[str, str], list[_Slot]] = {}
    for step, others in waits.items():
        layer[step] = max((layer[other] + 1 for other in others), default=0)
        if not others:
            chains[step, step] = [_Slot(0, step)]
        for other in others:
            bends = [_Slot(between, step, other) for between in range(layer[other] + 1, layer[step])]
            chains[other, step] = [_Slot(layer[other], other), *bends, _Slot(layer[step], step)]
    return chains


def _ordered_layers(chains: Mapping[tuple[str, str], list[_Slot]]) -> list[list[_Slot]]:
    """The slots by layer, each as near as can be to those before it; the longest way stays on top."""
    slots = list(dict.fromkeys(slot for chain in chains.values() for slot in chain))
    before: dict[_Slot, list[_Slot]] = {slot: [] for slot in slots}
    after: dict[_Slot, list[_Slot]] = {slot: [] for slot in slots}
    for chain in chains.values():
        for left, right in pairwise(chain):
            before[right].append(left)
            after[left].append(right)
    still_to_go: dict[_Slot, int] = {}
    for slot in sorted(slots, key=lambda slot: -slot.layer):
        still_to_go[slot] = max((still_to_go[right] + 1 for right in after[slot]), default=0)
    layers: list[list[_Slot]] = [[] for _ in range(max((slot.layer for slot in slots), default=-1) + 1)]
    for slot in slots:
        layers[slot.layer].append(slot)
    position: dict[_Slot, float] = {}
    for layer in layers:
        # The barycentre heuristic of layered drawing, one sweep: pipelines are nearly chains.
        layer.sort(
            key=lambda slot: (
                sum(position[left] for left in before[slot]) / max(len(before[slot]), 1),
                slot.waits_for is not None,
                -still_to_go[slot],
            )
        )
        position |= {slot: index for index, slot in enumerate(layer)}
    return layers


def _places(layers: Sequence[Sequence[_Slot]], columns: int) -> tuple[dict[_Slot, Place], list[float]]:
    """The corner of each slot, and the lower end of each band of layers."""
    places: dict[_Slot, Place] = {}
    bottoms: list[float] = []
    top = 1.0
    for first in range(0, len(layers), columns):
        lowest = top
        for column, layer in enumerate(layers[first : first + columns]):
            y = top
            for slot in layer:
                places[slot] = (_MARGIN + column * (NODE_WIDTH + _GAP_X), y)
                lowest = max(lowest, y + slot.height)
                y += slot.height + _GAP_Y
        bottoms.append(lowest)
        top = lowest + _BAND_GAP
    return places, bottoms


def _route(
    chain: Sequence[tuple[_Slot, Place]], columns: int, width: float, bottoms: Sequence[float], wrapped: list[int]
) -> str:
    """The path along the slots of an edge. `wrapped` counts the edges that cross from each band to the next."""
    slot, (x, y) = chain[0]
    path = f"M{x + NODE_WIDTH:g} {y + slot.height / 2:g}"
    for (left, (_, left_y)), (right, (x, y)) in pairwise(chain):
        middle = y + right.height / 2
        band = left.layer // columns
        if right.layer // columns == band:
            half = _GAP_X / 2
            path += f"C{x - half:g} {left_y + left.height / 2:g} {x - half:g} {middle:g} {x:g} {middle:g}"
        else:
            path += _wrap(x, middle, bottoms[band], width, 4 * wrapped[band])
            wrapped[band] += 1
        if right.waits_for is not None:
            path += f"h{NODE_WIDTH}"
    return f"{path}m-5-3.5l5 3.5l-5 3.5"


def _wrap(x: float, y: float, bottom: float, width: float, aside: float) -> str:
    """The way from the end of one band to the begin of the next: right, down, back, down, right."""
    right_edge, left_edge, between = width - 8 - aside, 6 + aside, bottom + _BAND_GAP / 2 + aside
    corner = _CORNER
    return (
        f"H{right_edge - corner:g}q{corner} 0 {corner} {corner}V{between - corner:g}q0 {corner}-{corner} {corner}"
        f"H{left_edge + corner:g}q-{corner} 0-{corner} {corner}V{y - corner:g}q0 {corner} {corner} {corner}H{x:g}"
    )
