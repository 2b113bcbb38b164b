"""A Job as it is sent: whole objects are compared, and names are told before anything is."""

import copy
from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.job import JobSpec, build_job, job_spec

RUN = "6f1d2c3b-1111-4222-8333-444455556666"
CPU: dict[str, Any] = {"cpu": {"request": "1", "limit": "2"}, "memory": {"request": "1Gi", "limit": "2Gi"}}
GPU: dict[str, Any] = {
    **CPU,
    "accelerator": {"resource": "nvidia.com/gpu", "count": 2},
    "node_selector": {"gpu-type": "a100-80gb"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priority_class": "training",
    "queue": "team",
    "service_account": "worker",
    "retry": {"count": 3},
    "annotations": {"sidecar.istio.io/inject": "true"},
    "secrets": [{"name": "store", "env": {"key": "STORE_KEY"}}],
}
PLAIN_JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": f"convert-{RUN}", "labels": {"stepworks.dev/run": RUN}},
    "spec": {
        "completions": 1,
        "parallelism": 1,
        "completionMode": "NonIndexed",
        "backoffLimit": 0,
        "activeDeadlineSeconds": 86400,
        "ttlSecondsAfterFinished": 86400,
        "suspend": False,
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {
            "metadata": {
                "labels": {"stepworks.dev/run": RUN},
                "annotations": {"sidecar.istio.io/inject": "false"},
            },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 30,
                "containers": [
                    {
                        "name": "main",
                        "image": "registry.example.com/tools:1",
                        "resources": {
                            "requests": {"cpu": "1", "memory": "1Gi"},
                            "limits": {"cpu": "2", "memory": "2Gi"},
                        },
                    }
                ],
            },
        },
    },
}


def spec(placement: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    return job_spec(**{"image": "registry.example.com/tools:1", "placement": placement or CPU, **changes})


def test_a_job_that_says_nothing_has_limits_all_the_same() -> None:
    assert build_job(spec(), name="convert", run=RUN) == PLAIN_JOB


def test_a_job_with_everything() -> None:
    everything = spec(
        GPU,
        command=["convert"],
        arguments=["--into", "$(STEPWORKS_OUTPUT)"],
        environment={"SIZE": "3"},
        config_maps=[{"name": "settings", "mount_path": "/etc/settings"}],
        secrets=[{"name": "tls", "env": {"ca": "CA"}, "optional": True}],
        tokens=[{"audience": "example.com", "mount_path": "/var/run/token"}],
        mounts=[{"claim": "data", "mount_path": "/mnt/data", "access_mode": "ReadWriteMany"}],
        completions=12,
        parallelism=4,
        active_deadline_seconds=600,
        ttl_seconds_after_finished=0,
        permanent_exit_codes=[64, 2.0],  # Kubeflow Pipelines makes the numbers of a list floats
        suspend=True,
        termination_grace_period_seconds=5,
    )
    wanted = copy.deepcopy(PLAIN_JOB)
    wanted["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team"
    wanted["spec"] |= {
        "completions": 12,
        "parallelism": 4,
        "completionMode": "Indexed",
        "backoffLimit": 3,
        "activeDeadlineSeconds": 600,
        "ttlSecondsAfterFinished": 0,
        "suspend": True,
    }
    codes = {"containerName": "main", "operator": "In", "values": [2, 64]}
    wanted["spec"]["podFailurePolicy"]["rules"].append({"action": "FailJob", "onExitCodes": codes})
    wanted["spec"]["template"]["metadata"] = {
        "labels": {"stepworks.dev/run": RUN, "kueue.x-k8s.io/queue-name": "team"},
        "annotations": {"sidecar.istio.io/inject": "true"},  # as the placement has it
    }
    token = {"serviceAccountToken": {"audience": "example.com", "path": "token", "expirationSeconds": 3600}}
    wanted["spec"]["template"]["spec"] |= {
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": {"gpu-type": "a100-80gb"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccountName": "worker",
        "priorityClassName": "training",
        "volumes": [
            {"name": "token-0", "projected": {"sources": [token]}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "settings", "configMap": {"name": "settings", "optional": False}},
        ],
    }
    wanted["spec"]["template"]["spec"]["containers"][0] |= {
        "command": ["convert"],
        "args": ["--into", "$(STEPWORKS_OUTPUT)"],
        "env": [
            {"name": "SIZE", "value": "3"},
            {"name": "PET_NPROC_PER_NODE", "value": "2"},
            {
                "name": "STORE_KEY",
                "valueFrom": {"secretKeyRef": {"name": "store", "key": "key", "optional": False}},
            },
            {"name": "CA", "valueFrom": {"secretKeyRef": {"name": "tls", "key": "ca", "optional": True}}},
        ],
        "volumeMounts": [
            {"name": "token-0", "mountPath": "/var/run/token", "readOnly": True},
            {"name": "data", "mountPath": "/mnt/data"},
            {"name": "settings", "mountPath": "/etc/settings"},
        ],
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "2"},
            "limits": {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": "2"},
        },
    }
    assert build_job(everything, name="convert", run=RUN) == wanted


def test_a_job_whose_lost_pods_are_not_replaced_has_no_failure_policy() -> None:
    assert "podFailurePolicy" not in build_job(spec(replaces_disrupted=False), name="a", run=RUN)["spec"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": "Tools"}, "image: 'Tools' is no reference of an image"),
        ({"environment": {"A-B": "1"}}, "environment.A-B"),
        ({"environment": {"A": 1}}, "environment.A: Input should be a valid string"),
        ({"completions": 0}, "completions: Input should be greater than or equal to 1, not 0"),
        ({"completions": "many"}, "unable to parse string as an integer, not 'many'"),
        ({"active_deadline_seconds": 0}, "active_deadline_seconds: 0 is not from 1 to 2147483647 seconds"),
        ({"active_deadline_seconds": 1 << 31}, "active_deadline_seconds: 2147483648 is not from 1 to 2147483647"),
        ({"active_deadline_seconds": 1.5}, "got a number with a fractional part, not 1.5"),
        ({"parallelism": 2}, "parallelism is 2 and completions is 1"),
        ({"active_deadline_seconds": 0}, "active_deadline_seconds"),
        ({"permanent_exit_codes": [0]}, "permanent_exit_codes.0"),
        ({"permanent_exit_codes": [256]}, "permanent_exit_codes.0"),
        ({"permanent_exit_codes": [3, 3]}, "has a code twice: [3, 3]"),
        ({"secrets": [{"name": "a"}]}, "secrets.0: a needs one of env and mount_path"),
        ({"comand": ["a"]}, "there is no field comand; did you mean command?"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match="The Job is wrong") as raised:
        spec(**changes)
    assert told in raised.value.received


def test_a_placement_for_vertex_is_refused() -> None:
    machine = {"machine_type": "n1-standard-4"}
    with pytest.raises(ConfigurationError, match="cannot express the placement's vertex"):
        build_job(spec({**CPU, "vertex": machine}), name="a", run=RUN)


def test_room_is_left_for_the_index_in_the_host_names_of_pods() -> None:
    job = build_job(spec(completions=1000, parallelism=10), name="n" * 40, run=RUN)
    assert len(f"{job['metadata']['name']}-999") == 63
