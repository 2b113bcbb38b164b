"""The pod of a task: what a placement says comes out of the IR again, and what is not known is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl, kubernetes

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.pod_template import placed_pod_template
from stepworks.kubeflow.place import apply_placement
from stepworks.kubeflow.pods.run import read_executors
from stepworks.kubeflow.pods.task_pod import CONTAINER, RUN_VOLUME, task_pod
from stepworks.placement.placement import PRIORITY_CLASS_LABEL, Placement
from stepworks.placement.storage import Mount

PLACEMENT: dict[str, Any] = {
    "cpu": {"request": "4", "limit": "8"},
    "memory": {"request": "16Gi", "limit": "32Gi"},
    "workload": "inference",
    "accelerator": {"resource": "nvidia.com/gpu", "count": 2},
    "node_selector": {"gpu-type": "a100", "zone": "a"},
    "node_affinity": {
        "required": [
            {"match_expressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]},
            {"match_expressions": [{"key": "spot", "operator": "DoesNotExist"}]},
        ],
        "preferred": [{"weight": 7, "match_expressions": [{"key": "cores", "operator": "Gt", "values": ["16"]}]}],
    },
    "tolerations": [
        {"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 0},
        {"operator": "Exists"},
    ],
    "shared_memory": "8Gi",
    "secrets": [
        {"name": "s3", "env": {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"}},
        {"name": "tls", "mount_path": "/etc/tls", "optional": True},
    ],
    "config_maps": [
        {"name": "proxy", "env": {"url": "HTTPS_PROXY"}},
        {"name": "cluster", "mount_path": "/etc/cluster"},
    ],
    "image_pull_secrets": ["registry"],
    "queue": "team",
    "labels": {"team": "vision"},
    "annotations": {"example.com/note": "by hand"},
    "timeout_seconds": 600,
}
MOUNTS = [
    Mount(claim="work", mount_path="/mnt/work", access_mode="ReadWriteMany", sub_path="a/b"),
    Mount(claim="data", mount_path="/mnt/data", access_mode="ReadWriteOnce"),
]
FOLDER = Path("/srv/run")

Apply = Callable[[dsl.PipelineTask], Any]


@dsl.component(base_image="registry.example.com/team/cpu:1", install_kfp_package=False)
def plain(text: str = "") -> str:
    """A step of plain kfp."""
    return text


def pod_of(apply: Apply = lambda task: None, executor_input: str = "{}") -> dict[str, Any]:
    """The pod of a step that was given settings."""

    @dsl.pipeline(name="one")
    def one() -> None:
        apply(plain())

    executors = read_executors(one)
    return task_pod(
        "plain-1",
        executors.containers["plain"],
        executors.settings.get("plain", {}),
        executor_input,
        service_account="runner",
        folder=FOLDER,
    )


def without_the_run(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod's template, without what is there in every pod of a run."""
    spec, (main,) = pod["spec"], pod["spec"]["containers"]
    assert spec["volumes"].pop() == {"name": RUN_VOLUME, "hostPath": {"path": "/srv/run", "type": "Directory"}}
    assert main["volumeMounts"].pop() == {"name": RUN_VOLUME, "mountPath": "/srv/run"}
    for name in ("image", "command", "args"):
        del main[name]
    assert spec.pop("restartPolicy") == "Never"
    assert spec.pop("serviceAccountName") == "runner"
    assert pod["metadata"].pop("name") == "plain-1"
    return {"metadata": pod["metadata"], "spec": spec}


def test_a_placement_is_the_same_through_kfp_as_in_a_pod_template() -> None:
    """The pod of a Job, of which another module takes care, is the measure."""
    placement = Placement.model_validate(PLACEMENT)
    expected = placed_pod_template(
        {"spec": {"containers": [{"name": CONTAINER}]}}, placement, MOUNTS, container=CONTAINER
    )
    main = expected["spec"]["containers"][0]
    # KFP sets a device as a limit only, and Kubernetes makes a request of it.
    del main["resources"]["requests"]["nvidia.com/gpu"]

    pod = without_the_run(pod_of(lambda task: apply_placement(task, placement, MOUNTS)))
    assert pod == expected


def test_a_priority_class_is_the_label_that_kubeflow_has_for_it() -> None:
    placement = Placement.model_validate({**PLACEMENT, "priority_class": "training"})
    pod = pod_of(lambda task: apply_placement(task, placement))
    assert pod["metadata"]["labels"][PRIORITY_CLASS_LABEL] == "training"
    assert "priorityClassName" not in pod["spec"]


def test_the_command_is_that_of_the_ir_with_the_executor_input_in_its_place() -> None:
    main = pod_of(executor_input='{"a": "$(HOME) $5"}')["spec"]["containers"][0]
    assert main["image"] == "registry.example.com/team/cpu:1"
    assert main["command"][:2] == ["sh", "-c"]
    assert main["command"][3] == "plain-1"
    assert main["command"][4:6] == ["sh", "-ec"]
    assert "def plain(" in main["command"][-1]
    # Kubernetes would fill in $(HOME); a doubled dollar is one.
    assert main["args"] == ["--executor_input", '{"a": "$$(HOME) $$5"}', "--function_to_execute", "plain"]


def test_a_plain_step_has_nothing_but_the_folder_of_the_run() -> None:
    assert without_the_run(pod_of()) == {
        "metadata": {},
        "spec": {"containers": [{"name": CONTAINER, "volumeMounts": []}], "volumes": []},
    }


def test_fields_of_the_pod_and_a_pull_policy_are_kept() -> None:
    def apply(task: dsl.PipelineTask) -> None:
        kubernetes.use_field_path_as_env(task, "NODE", "spec.nodeName")
        kubernetes.set_image_pull_policy(task, "Always")

    main = pod_of(apply)["spec"]["containers"][0]
    assert main["imagePullPolicy"] == "Always"
    assert main["env"] == [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]


@pytest.mark.parametrize(
    ("apply", "told"),
    [
        (lambda task: kubernetes.set_security_context(task, run_as_user=1000), "securityContext"),
        (
            lambda task: kubernetes.add_ephemeral_volume(task, "scratch", "/scratch", ["ReadWriteOnce"], "1Gi"),
            "genericEphemeralVolume",
        ),
        (lambda task: kubernetes.add_node_selector_json(task, {"disk": "ssd"}), "nodeSelectorJson"),
        (lambda task: task.set_container_image("{{$.inputs.parameters['image']}}"), "placeholder"),
    ],
)
def test_what_only_kubeflow_gives_is_refused(apply: Apply, told: str) -> None:
    with pytest.raises(ConfigurationError, match="what only Kubeflow gives") as caught:
        pod_of(apply)
    assert told in str(caught.value)
    assert "--host" in str(caught.value)


def test_a_claim_that_another_step_makes_is_refused() -> None:
    @dsl.pipeline(name="one")
    def one() -> None:
        made = plain()
        kubernetes.mount_pvc(plain().set_display_name("mounts"), made.output, "/mnt/made")

    executors = read_executors(one)
    name, settings = next(iter(executors.settings.items()))
    with pytest.raises(ConfigurationError, match="taskOutputParameter"):
        task_pod("p", executors.containers[name], settings, "{}", service_account="runner", folder=FOLDER)


def test_an_importer_is_no_pod() -> None:
    @dsl.pipeline(name="one")
    def one() -> None:
        dsl.importer(artifact_uri="gs://b/a", artifact_class=dsl.Dataset)

    ((_, executor),) = read_executors(one).containers.items()
    with pytest.raises(ConfigurationError, match="importer"):
        task_pod("p", executor, {}, "{}", service_account="runner", folder=FOLDER)
