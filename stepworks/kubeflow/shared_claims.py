"""Claims that one node, or one pod, can have at a time, and tasks that would want them at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

from google.protobuf import json_format

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.ir import placeholders
from stepworks.placement.storage import SINGLE_NODE_MODES, Claim


@dataclass(frozen=True)
class _Place:
    """A task in its graph: kfp's graph, the component that the graph belongs to, and the task's name there."""

    dag: Any
    component: str
    task: str

    @property
    def repeats(self) -> bool:
        """Whether it is a loop whose iterations may run at once."""
        specification = self.dag.tasks[self.task]
        return bool(specification.WhichOneof("iterator")) and specification.iterator_policy.parallelism_limit != 1


_Path = tuple[_Place, ...]


def refuse_shared_claims(
    pipeline_spec: Any, platform_spec: Any, claims: Mapping[str, Claim], made_claims: Mapping[str, str]
) -> None:
    """Refuse a ReadWriteOnce claim in tasks that may run at once: the second pod would wait for the first one's node.

    Args:
        pipeline_spec: The traced pipeline's specification.
        platform_spec: Its settings for Kubernetes.
        claims: The target's claims.
        made_claims: The claims that the run makes, by the task and output that carry their names.

    Raises:
        ConfigurationError: Neither of two tasks that have such a claim is upstream of the other; or a task and the pods
            that it makes have one.
    """
    single = {name: claim for name, claim in claims.items() if claim.access_mode in SINGLE_NODE_MODES}
    if not single:
        return
    users = _users(pipeline_spec, platform_spec, single, made_claims)
    for name, paths in users.items():
        for one, other in combinations_with_replacement(paths, 2):
            if _may_run_at_once(one, other):
                raise _shared(name, single[name], one, other)


def _users(
    pipeline_spec: Any, platform_spec: Any, claims: Mapping[str, Claim], made_claims: Mapping[str, str]
) -> dict[str, list[_Path]]:
    """The tasks that have each claim, themselves or by the pods that they make.

    Raises:
        ConfigurationError: A task and the pods that it makes have the same one.
    """
    settings = json_format.MessageToDict(platform_spec).get("platforms", {}).get("kubernetes", {})
    executors = settings.get("deploymentSpec", {}).get("executors", {})
    by_claim = {claim.claim: name for name, claim in claims.items() if claim.claim}
    workspaces = [name for name, claim in claims.items() if claim.workspace]
    users: dict[str, list[_Path]] = {name: [] for name in claims}
    for path in _leaves(pipeline_spec, pipeline_spec.root.dag, "root", ()):
        task = path[-1].dag.tasks[path[-1].task]
        label = pipeline_spec.components[task.component_ref.name].executor_label
        mounts = executors.get(label, {}).get("pvcMount", [])
        names = {by_claim.get(each.get("constant"), made_claims.get(_channel(each), "")) for each in mounts}
        if placeholders.WORKSPACE in str(task.inputs):
            names.update(workspaces)
        of_pods = _claims_of_pods(task) & users.keys()
        if both := sorted(of_pods & names):
            raise _shared_with_pods(both[0], claims[both[0]], path)
        for name in (names | of_pods) & users.keys():
            users[name].append(path)
    return users


def _claims_of_pods(task: Any) -> set[str]:
    """The claims of the pods that a task makes, as targets name them; see `placement_of`."""
    given = json_format.MessageToDict(task.inputs).get("parameters", {}).get("placement", {})
    value = given.get("runtimeValue", {}).get("constant", {})
    return set(value.get("claims", ())) if isinstance(value, Mapping) else set()


def _channel(mount: Mapping[str, Any]) -> str:
    """What names a claim that is made in the run: the producer's task and output, in its graph or in an inner one."""
    output = mount.get("taskOutputParameter")
    if output:
        return f"{output['producerTask']}-{output['outputParameterKey']}"
    return str(mount.get("componentInputParameter", "")).removeprefix("pipelinechannel--")


def _leaves(pipeline_spec: Any, dag: Any, component: str, outer: _Path) -> Iterator[_Path]:
    for name, task in sorted(dag.tasks.items()):  # a protobuf map has an order of its own
        path = (*outer, _Place(dag, component, name))
        inner = pipeline_spec.components[task.component_ref.name]
        if inner.HasField("dag"):
            yield from _leaves(pipeline_spec, inner.dag, task.component_ref.name, path)
        else:
            yield path


def _may_run_at_once(one: _Path, other: _Path) -> bool:
    """Whether two tasks, or a task and itself, may run at the same time."""
    for place, counterpart in zip(one, other, strict=False):
        if place.task != counterpart.task:
            ordered = _is_upstream(place, counterpart) or _is_upstream(counterpart, place)
            return not ordered and not _exclusive(place)
        if place.repeats:
            return True
    return False


def _is_upstream(place: _Place, of: _Place) -> bool:
    """Whether a task of a graph ends before another one of it begins."""
    waiting, seen = list(of.dag.tasks[of.task].dependent_tasks), set()
    while waiting:
        name = waiting.pop()
        if name == place.task:
            return True
        if name not in seen:
            seen.add(name)
            waiting.extend(of.dag.tasks[name].dependent_tasks)
    return False


def _exclusive(place: _Place) -> bool:
    """Whether a graph holds the branches of one If, Elif and Else, of which only one runs."""
    return place.component.startswith("comp-condition-branches-")


def _shared(name: str, claim: Claim, one: _Path, other: _Path) -> ConfigurationError:
    tasks = ["/".join(place.task for place in path) for path in (one, other)]
    who = f"iterations of {tasks[0]}" if one == other else " and ".join(sorted(tasks))
    return ConfigurationError(
        f"The claim {name} is {claim.access_mode}, and tasks that may run at once have it",
        received=who,
        expected="tasks that run one after the other, or a claim that several nodes can have",
        what_to_do=(
            "Make one of them wait with .after(), or a loop with parallelism=1; or make the claim ReadWriteMany; or "
            "keep the data in object storage, as an artifact."
        ),
    )


def _shared_with_pods(name: str, claim: Claim, path: _Path) -> ConfigurationError:
    task = "/".join(place.task for place in path)
    return ConfigurationError(
        f"The claim {name} is {claim.access_mode}, and a task and the pods that it makes have it",
        received=f"the task {task}, with {name} in its mounts and in those of its placement_of",
        expected="a claim with the access mode ReadWriteMany: they run at once, mostly on several nodes",
        what_to_do=f"Name a ReadWriteMany claim, or make {name} one in the target's file.",
    )
