"""All that the library knows of single kinds, in one table: a kind that it is to know more of is one row more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stepworks.kube.kinds import rules
from stepworks.kube.kinds.judgement import Rule
from stepworks.kube.kinds.manifests import Manifest, group_of
from stepworks.kube.kinds.name_rules import LABEL, PATH_SEGMENT, SERVICE, SUBDOMAIN, NameRule
from stepworks.kube.kinds.pod_counts import job_lacks_pods, replicas_lack_pods, training_job_lacks_pods

KindName = tuple[str, str]
"""An API version and a kind."""


@dataclass(frozen=True)
class Suspension:
    """How objects of a kind let go of their pods, and take them up again, as merge patches.

    Attributes:
        suspend: What to change to suspend one.
        resume: What to change to let it go on.
    """

    suspend: Manifest
    resume: Manifest


@dataclass(frozen=True)
class Descent:
    """How to find what an object of a kind made.

    Attributes:
        label: The label that all of it carries, its pods included; its value is the object's name. Empty where it
            carries the labels of `spec.selector`.
        made: The kinds between the object and its pods.
        namesake: A kind of which the object makes one of its own name, which does not carry the label.
    """

    label: str = ""
    made: tuple[KindName, ...] = ()
    namesake: KindName | None = None


@dataclass(frozen=True)
class Kind:
    """What the library knows of a kind.

    Attributes:
        api_version: `batch/v1`; of the other versions of its group the same holds.
        kind: `Job`.
        name: What its names may look like.
        until: When one has succeeded and when it has failed; None where nobody waits for it.
        suspension: How one is suspended; None where the kind cannot be, and has to be deleted.
        descent: How its pods are found; None where that is not known, or it has none.
        lacks_pods: Whether one that makes pods itself has made fewer than it wants.
        pods_take_turns: Whether its pods do not need each other: while some have no room, the others get on.
        serves: Whether its pods are to run for ever, so that one that ends again and again has failed.
        made_by_runs: Whether steps make objects of it, which the exit step deletes.
    """

    api_version: str
    kind: str
    name: NameRule = SUBDOMAIN
    until: Rule | None = None
    suspension: Suspension | None = None
    descent: Descent | None = None
    lacks_pods: Callable[[Manifest], bool] | None = None
    pods_take_turns: bool = False
    serves: bool = False
    made_by_runs: bool = False


_JOB: KindName = ("batch/v1", "Job")
_JOB_SET: KindName = ("jobset.x-k8s.io/v1alpha2", "JobSet")
_EXPERIMENT: KindName = ("kubeflow.org/v1beta1", "Experiment")
_TRIAL: KindName = ("kubeflow.org/v1beta1", "Trial")
_DEPLOYMENT: KindName = ("apps/v1", "Deployment")
_REPLICA_SET: KindName = ("apps/v1", "ReplicaSet")
_BY_SPEC = Suspension({"spec": {"suspend": True}}, {"spec": {"suspend": False}})
_BY_RUN_POLICY = Suspension(
    # A job that has failed keeps the pods that still run, and their GPUs, unless this policy says otherwise.
    {"spec": {"runPolicy": {"suspend": True, "cleanPodPolicy": "Running"}}},
    {"spec": {"runPolicy": {"suspend": False}}},
)
_STOP = "serving.kserve.io/stop"
_BY_STOP = Suspension({"metadata": {"annotations": {_STOP: "true"}}}, {"metadata": {"annotations": {_STOP: None}}})
_OF_JOB_SET = "jobset.sigs.k8s.io/jobset-name"


def _of_training_operator(kind: str) -> Kind:
    return Kind(
        "kubeflow.org/v1",
        kind,
        SERVICE,
        rules.TRAINING_OPERATOR_JOB_SUCCEEDED,
        _BY_RUN_POLICY,
        Descent("training.kubeflow.org/job-name"),
        training_job_lacks_pods,
        made_by_runs=True,
    )


KINDS: tuple[Kind, ...] = (
    # What runs make is deleted in this order: what makes others goes before them, and what uses a claim before it.
    Kind(
        "trainer.kubeflow.org/v1alpha1",
        "TrainJob",
        SERVICE,
        rules.TRAIN_JOB_COMPLETE,
        _BY_SPEC,
        Descent(_OF_JOB_SET, (_JOB,), namesake=_JOB_SET),
        made_by_runs=True,
    ),
    Kind(
        *_EXPERIMENT,
        SERVICE.shorter(40, "the names of the trials add to it"),
        rules.EXPERIMENT_SUCCEEDED,
        descent=Descent("katib.kubeflow.org/experiment", (_TRIAL,)),
        made_by_runs=True,
    ),
    Kind(*_TRIAL, descent=Descent("katib.kubeflow.org/trial")),
    Kind("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", SERVICE, made_by_runs=True),
    *map(_of_training_operator, ("PyTorchJob", "TFJob", "MPIJob", "XGBoostJob", "JAXJob")),
    Kind(*_JOB_SET, SERVICE, rules.JOB_SET_COMPLETE, _BY_SPEC, Descent(_OF_JOB_SET, (_JOB,)), made_by_runs=True),
    Kind(
        *_JOB,
        SUBDOMAIN.shorter(63, "the pods carry the name as a label's value"),
        rules.JOB_COMPLETE,
        _BY_SPEC,
        Descent("batch.kubernetes.io/job-name"),
        job_lacks_pods,
        pods_take_turns=True,
        made_by_runs=True,
    ),
    Kind(
        "serving.kserve.io/v1beta1",
        "InferenceService",
        SERVICE.shorter(53, "its Service is named NAME-predictor"),
        rules.INFERENCE_SERVICE_READY,
        _BY_STOP,
        Descent("serving.kserve.io/inferenceservice", (_DEPLOYMENT, _REPLICA_SET)),
        serves=True,
        made_by_runs=True,
    ),
    Kind(
        "serving.kserve.io/v1alpha1",
        "InferenceGraph",
        SERVICE,
        rules.INFERENCE_GRAPH_READY,
        _BY_STOP,
        Descent("serving.kserve.io/inferencegraph", (_DEPLOYMENT, _REPLICA_SET)),
        serves=True,
        made_by_runs=True,
    ),
    Kind("v1", "ConfigMap", made_by_runs=True),
    Kind("v1", "Secret", made_by_runs=True),
    Kind("v1", "PersistentVolumeClaim", until=rules.CLAIM_BOUND, made_by_runs=True),
    # What runs do not make.
    Kind(
        *_DEPLOYMENT,
        until=rules.DEPLOYMENT_ROLLED_OUT,
        descent=Descent("", (_REPLICA_SET,)),
        lacks_pods=replicas_lack_pods,
        serves=True,
    ),
    Kind(*_REPLICA_SET, descent=Descent(), lacks_pods=replicas_lack_pods),
    Kind("argoproj.io/v1alpha1", "Workflow", descent=Descent("workflows.argoproj.io/workflow")),
    Kind("batch/v1", "CronJob", SUBDOMAIN.shorter(52, "the Jobs add eleven characters to it")),
    Kind("v1", "Pod", until=rules.POD_SUCCEEDED),
    Kind("v1", "Namespace", LABEL),
    Kind("v1", "Service", SERVICE),
    *(
        Kind("rbac.authorization.k8s.io/v1", kind, PATH_SEGMENT)
        for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    ),
)
_BY_GROUP = {(group_of(each.api_version), each.kind): each for each in KINDS}

PROVIDERS = {
    "trainer.kubeflow.org": "Kubeflow Trainer",
    "jobset.x-k8s.io": "JobSet",
    "serving.kserve.io": "KServe",
    "keda.sh": "KEDA",
    "kueue.x-k8s.io": "Kueue",
    "monitoring.coreos.com": "the Prometheus Operator",
    "serving.knative.dev": "Knative Serving",
    "argoproj.io": "Argo Workflows",
    "kubeflow.org": "the training operator (PyTorchJob, TFJob) or Katib (Experiment)",
}
"""What to install for the kinds of a group."""


def kind_of(manifest: Manifest) -> Kind | None:
    """What the library knows of an object's kind; None if that is nothing."""
    return _BY_GROUP.get((group_of(manifest["apiVersion"]), manifest["kind"]))
