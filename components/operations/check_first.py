"""The first step of a pipeline: the check of the cluster."""

from __future__ import annotations

from stepworks.components.operations.preflight.component import preflight
from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import current_building, on_vertex
from stepworks.kubeflow.place import place


def check_first(role: str = "effects", *, more_nodes_may_come: bool = False) -> None:
    """Have the cluster checked before anything else of the pipeline runs.

    Every task that waits for no other waits for this step. What the pipeline needs is read from its IR when it is
    compiled, and given to the step; so the check knows all of it, wherever in the function this is called, as long as
    it is outside of every `with` block. On this machine and on Vertex AI, where there is no cluster to check, the
    pipeline has no such step.

    Args:
        role: Where the step runs, as targets name it. Its results must not be cached: a cluster changes.
        more_nodes_may_come: Whether an autoscaler adds nodes, so that one that is missing is no fault.

    Raises:
        ConfigurationError: The target lacks the role or caches it, or the pipeline has such a step already.
    """
    building = current_building()
    if building.target is None or on_vertex():
        return
    if building.first:
        raise ConfigurationError(
            "A pipeline checks its cluster once",
            received="a second check_first()",
            expected="one",
            what_to_do="Leave it out.",
        )
    if building.target.placement(role).cache:
        raise ConfigurationError(
            f"The check of the cluster must not be taken from the cache, and {role} may be",
            received=f"cache: true of {building.target.roles[role]}, in the target {building.target.name}",
            expected="a role whose placement has cache: false",
            what_to_do="Name another role, for example check_first('effects').",
        )
    building.first = place(preflight(needs={}, more_nodes_may_come=more_nodes_may_come), role).name
