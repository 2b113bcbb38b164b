"""Rules about settings that KFP drops in silence or turns into something else, and about what pods ask for."""

from __future__ import annotations

from collections.abc import Iterator

from stepworks.kubeflow.ir.executor_model import Executor, Quantity
from stepworks.kubeflow.ir.placeholders import INPUT_START, placeholder_input
from stepworks.kubeflow.ir.source import JsonPath
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import RECOMPILE, Context, Found, input_type, rule

_NEEDED = ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
_KNOWN_SETTINGS = {
    "activeDeadlineSeconds", "configMapAsEnv", "configMapAsVolume", "emptyDirMounts", "enabledSharedMemory",
    "fieldPathAsEnv", "genericEphemeralVolume", "imagePullPolicy", "imagePullSecret", "nodeAffinity", "nodeSelector",
    "podAffinity", "podMetadata", "pvcMount", "secretAsEnv", "secretAsVolume", "securityContext", "tolerations",
}  # fmt: skip


def _quantities(executor: Executor) -> Iterator[tuple[str, Quantity]]:
    for name in _NEEDED:
        quantity: Quantity | None = getattr(executor.resources, name)
        if quantity:
            yield name.replace("cpu", "CPU").replace("_", " "), quantity


def _machine_texts(executor: Executor) -> Iterator[tuple[str, str, JsonPath]]:
    """The settings that KFP's driver resolves: what they are, their text, and where they stand."""
    yield "image", executor.image, (*executor.location, "container", "image")
    for name, quantity in _quantities(executor):
        yield name, quantity.text, quantity.location
    accelerator = executor.accelerator
    if accelerator:
        yield "accelerator", accelerator.type, accelerator.location
        yield "number of accelerators", accelerator.count_text, accelerator.location


@rule(
    "R04",
    Severity.WARNING,
    "A task has no CPU or memory request or limit",
    why="Without a request the pod is put on a full node and is the first to be evicted; without a memory limit it "
    "takes the memory of its neighbours.",
    do="Set the four: set_cpu_request, set_cpu_limit, set_memory_request, set_memory_limit; a placement has them.",
    backend="kubeflow",
)
def missing_resources(context: Context) -> Iterator[Found]:
    """Every container has a request and a limit of CPU and of memory."""
    for task, executor in context.containers:
        missing = [name.replace("_", " ") for name in _NEEDED if getattr(executor.resources, name) is None]
        if missing:
            message = f"The task has no {', no '.join(missing).replace('cpu', 'CPU')}"
            yield Found(message, (*executor.location, "container"), task.path, executor.label)


@rule(
    "S16",
    Severity.ERROR,
    "Kubernetes settings are for an executor that is not there",
    why="The claims, secrets and tolerations are set on nothing, and nothing says so.",
    do=RECOMPILE,
)
def settings_without_executor(context: Context) -> Iterator[Found]:
    """Every executor of the platform document is one of the pipeline's."""
    for label, location in context.ir.platform_executors.items():
        if label not in context.ir.executors:
            yield Found(
                f"The platform document has settings for {label}, and `deploymentSpec.executors` has none of that name",
                location,
                subject=label,
            )


@rule(
    "D01",
    Severity.ERROR,
    "A parameter is only a part of an image or of a resource setting",
    why="KFP puts the parameter's value in place of the whole text: `repository/image:{tag}` becomes the tag alone.",
    do="Give the whole text as one parameter, for example the full image reference.",
    backend="kubeflow",
)
def placeholder_in_text(context: Context) -> Iterator[Found]:
    """Where an image or a resource setting holds a parameter, it is the parameter and nothing else."""
    for task, executor in context.containers:
        for name, text, location in _machine_texts(executor):
            if INPUT_START in text and not placeholder_input(text):
                yield Found(
                    f"The {name} holds a parameter inside a longer text: {text}; the parameter alone was expected",
                    location,
                    task.path,
                    f"{executor.label} {name}",
                )


@rule(
    "D02",
    Severity.WARNING,
    "Shared memory is set in a way that KFP does not read",
    why="KFP's driver never reads enabledSharedMemory; /dev/shm stays at 64 MiB, and data loaders die of it.",
    do="Mount a memory folder: kfp.kubernetes.empty_dir_mount(task, 'shm', '/dev/shm', medium='Memory').",
    backend="kubeflow",
)
def shared_memory(context: Context) -> Iterator[Found]:
    """No executor has enabledSharedMemory."""
    yield from _unread(context, "enabledSharedMemory")


@rule(
    "D03",
    Severity.WARNING,
    "A pod affinity is set, which KFP does not read",
    why="KFP's driver never reads podAffinity; the pods land anywhere.",
    do="Use a node selector or a node affinity.",
    backend="kubeflow",
)
def pod_affinity(context: Context) -> Iterator[Found]:
    """No executor has podAffinity."""
    yield from _unread(context, "podAffinity")


def _unread(context: Context, key: str) -> Iterator[Found]:
    for task, executor in context.containers:
        kubernetes = executor.kubernetes
        if kubernetes and kubernetes.raw.get(key):
            message = f"The executor {executor.label} has {key}, which KFP's driver does not read"
            yield Found(message, (*kubernetes.location, key), task.path, executor.label)


@rule(
    "D04",
    Severity.INFO,
    "A Kubernetes setting is not known to KFP 2.17",
    why="A server of that version drops it in silence.",
    do="Check the version of your server, or correct the name.",
    backend="kubeflow",
)
def unknown_setting(context: Context) -> Iterator[Found]:
    """Every setting of the platform document is a field of KFP's KubernetesExecutorConfig."""
    for task, executor in context.containers:
        kubernetes = executor.kubernetes
        for key in sorted(set(kubernetes.raw) - _KNOWN_SETTINGS) if kubernetes else ():
            location = (*kubernetes.location, key) if kubernetes else ()
            yield Found(f"The executor {executor.label} has the setting {key}", location, task.path, key)


@rule(
    "D05",
    Severity.ERROR,
    "A CPU or memory setting is no quantity that KFP takes",
    why="The driver fails when it comes to the task. KFP takes whole numbers of memory: 1536Mi, not 1.5Gi.",
    do="Write CPU as 500m, 2 or 1.5, and memory as 512Mi or 16Gi.",
    backend="kubeflow",
)
def wrong_quantity(context: Context) -> Iterator[Found]:
    """Every CPU and memory setting is a quantity, or a parameter of the type STRING."""
    for task, executor in context.containers:
        for name, quantity in _quantities(executor):
            subject = f"{executor.label} {name}"
            if quantity.value is None and "{{" not in quantity.text:
                message = f"The {name} is {quantity.text}; a quantity was expected"
                yield Found(message, quantity.location, task.path, subject)
            parameter = placeholder_input(quantity.text)
            type_ = input_type(context, task, parameter) if parameter else ""
            if type_ and type_ != "STRING":
                message = f"The {name} comes from {parameter}, which is of the type {type_}; STRING was expected"
                yield Found(message, quantity.location, task.path, subject)


@rule(
    "D06",
    Severity.ERROR,
    "A request is above its limit",
    why="Kubernetes refuses the pod.",
    do="Lower the request, or raise the limit.",
    backend="kubeflow",
)
def request_above_limit(context: Context) -> Iterator[Found]:
    """CPU and memory requests are at most their limits."""
    for task, executor in context.containers:
        resources = executor.resources
        pairs = (
            ("CPU", resources.cpu_request, resources.cpu_limit),
            ("memory", resources.memory_request, resources.memory_limit),
        )
        for name, request, limit in pairs:
            if request and limit and (request.value or 0) > (limit.value or float("inf")):
                message = f"The {name} request {request.text} is above the limit {limit.text}"
                yield Found(message, request.location, task.path, f"{executor.label} {name}")
