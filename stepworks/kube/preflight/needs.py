"""What a pipeline needs of a cluster, as data: read from its IR, and given to the step that checks it there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

from pydantic import Field

from stepworks.settings_file import ParameterValue, Setting, from_parameter

MAKERS: Mapping[str, str] = {
    "clean_up_run": "folders",
    "compare_answers": "requests",
    "deploy": "placement",
    "deploy_model_server": "placement",
    "make_claim": "access_mode",
    "roll_out_canary": "deployment",
    "run_job": "placement",
    "serve_version": "placement",
    "train_distributed": "placement",
    "tune": "placement",
}
"""The functions of the components that make or change objects in a cluster, each with an input by which it is told from
another function of that name."""


STAYING = ("InferenceService", "Deployment")
"""The makers of pods that outlive the run."""


class PodClass(Setting):
    """By what the scopes of a quota tell pods apart.

    Attributes:
        priority_class: The name of their PriorityClass; empty for none.
        endless: Whether they have no deadline.
    """

    priority_class: str = ""
    endless: bool = False


class PodNeed(Setting):
    """Pods of one shape.

    Attributes:
        steps: The tasks that have such a pod, by their paths.
        maker: The kind of the object that makes the pods, `TrainJob`; empty for the pod of the task itself.
        together: How many of them need each other, as the nodes of a training: all of them have to find room at once.
        parallel: How many such groups one task has at once, as the trials of a search, which also run in turn.
        requests: What each is guaranteed, by resource: `{"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}`.
        limits: The most that each may use.
        node_selector: Labels that the node must have.
        node_terms: Terms of the required node affinity as Kubernetes' JSON; a node must meet one of them.
        tolerations: The taints that it puts up with, as Kubernetes' JSON.
        claims: The PersistentVolumeClaims that it mounts.
        secrets: The Secrets that it needs, with the keys of each.
        config_maps: The ConfigMaps that it needs, likewise.
        image_pull_secrets: The Secrets by which its image is pulled.
        service_account: Its ServiceAccount; empty for that of the run.
        priority_class: Its PriorityClass; empty for the cluster's default.
        queue: The LocalQueue of Kueue that admits it; empty for none.
        endless: Whether it has no `activeDeadlineSeconds`, by which scoped quotas tell pods apart.
        later: What of its resources and its nodes only a run knows, such as `node selector`.
        unnamed: What it mounts or reads under a name that only a run knows, such as `claim`.
        conditional: Whether it is there only where a condition of the pipeline holds.
    """

    steps: tuple[str, ...]
    maker: str = ""
    together: int = Field(default=1, ge=1)
    parallel: int = Field(default=1, ge=1)
    requests: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    node_terms: tuple[dict[str, Any], ...] = ()
    tolerations: tuple[dict[str, Any], ...] = ()
    claims: tuple[str, ...] = ()
    secrets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    config_maps: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    priority_class: str = ""
    queue: str = ""
    endless: bool = False
    later: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    conditional: bool = False

    @property
    def at_once(self) -> int:
        """How many of them one task has at once."""
        return self.together * self.parallel

    @property
    def pod_class(self) -> PodClass:
        """By what quotas tell it apart."""
        return PodClass(priority_class=self.priority_class, endless=self.endless)

    @property
    def who(self) -> str:
        """The steps in words, `train and 2 others`; with the maker, `the TrainJob of train`."""
        first, *others = (step.rpartition("/")[2] for step in self.steps)
        more = f" and {others[0]}" if len(others) == 1 else f" and {len(others)} others" if others else ""
        return f"the {self.maker} of {first}{more}" if self.maker else f"{first}{more}"


def alike(pods: Iterable[PodNeed], *, whatever: Collection[str] = ()) -> list[PodNeed]:
    """The pods, those of one shape as one, in the order in which the shapes first come.

    Args:
        pods: The pods.
        whatever: Fields that may differ; those of the first are kept.
    """
    shapes: dict[str, list[PodNeed]] = {}
    for pod in pods:
        shapes.setdefault(pod.model_dump_json(exclude={"steps", *whatever}), []).append(pod)
    return [
        found[0].model_copy(update={"steps": tuple(step for pod in found for step in pod.steps)})
        for found in shapes.values()
    ]


class MakerNeed(Setting):
    """A task that makes objects in the cluster.

    Attributes:
        step: Its path.
        component: The function of its component, `train_distributed`.
        given: What is known of its inputs, as far as it says what is made. `format` is the format of the package that
            it serves.
        later: Those of its inputs that say what is made and that only a run knows.
        conditional: Whether it runs only where a condition of the pipeline holds.
    """

    step: str
    component: str
    given: dict[str, Any] = Field(default_factory=dict)
    later: tuple[str, ...] = ()
    conditional: bool = False


class PeakNeed(PodClass):
    """The most that the pods of a class ask for at once; `amounts` in the words of a ResourceQuota."""

    amounts: dict[str, str]


class Needs(ParameterValue):
    """What a compiled pipeline needs of a cluster.

    Attributes:
        pods: The pods of its tasks.
        makers: The tasks that make objects.
        peak: The most that the run asks for at once, in the words of a ResourceQuota: `pods`, `requests.cpu`. Model
            servers, which outlive the run, come on top.
        peaks: The same for each class of pods, where there are several.
        loops: Loops of any number of iterations, which the peaks count with one.
    """

    pods: tuple[PodNeed, ...] = ()
    makers: tuple[MakerNeed, ...] = ()
    peak: dict[str, str] = Field(default_factory=dict)
    peaks: tuple[PeakNeed, ...] = ()
    loops: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, also after Kubeflow Pipelines has made every number in it a float.

        Raises:
            ParameterError: It is nothing that `to_json` writes.
        """
        return from_parameter(
            cls,
            value,
            name="needs",
            expected="what compiling writes",
            what_to_do="Compile the pipeline again, and leave the parameter needs as it is.",
        )
