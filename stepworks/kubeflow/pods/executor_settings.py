"""What the IR says of an executor, as far as a pod can be made of it; whatever else it says is an error.

The fields are those of KFP's `PipelineContainerSpec` and `KubernetesExecutorConfig`. One that is known only when the
run is on its way, as the name of a claim that a step makes, is not among them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel


def _constant(value: str) -> str:
    if "{{$" in value:
        raise ValueError(f"{value!r} has a placeholder, which nobody fills in here")
    return value


Text = Annotated[str, AfterValidator(_constant)]


class _Part(BaseModel):
    """A part of the IR: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class _RuntimeValue(_Part):
    constant: Text


class _Parameter(_Part):
    runtime_value: _RuntimeValue


class _Named(_Part):
    """A part whose name KFP writes twice: as itself for old backends, and as a parameter for newer ones."""

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, content: Any) -> Any:
        parameters = {"secretNameParameter": "secretName", "configMapNameParameter": "configMapName"}
        parameters["pvcNameParameter"] = "constant"
        content = dict(content)
        for parameter, field in parameters.items():
            if parameter in content:
                content[field] = _Parameter.model_validate(content.pop(parameter)).runtime_value.constant
        return content


class Variable(_Part):
    """An environment variable."""

    name: str
    value: Text = ""


class Accelerator(_Part):
    """A device; `type` and `count` are the form of an older KFP, which says the same."""

    resource_type: Text
    resource_count: Text
    type: str = ""
    count: str = ""


class Resources(_Part):
    """What a container is given; the numbers are the form of an older KFP, which says the same in cores and GB."""

    resource_cpu_request: Text = ""
    resource_cpu_limit: Text = ""
    resource_memory_request: Text = ""
    resource_memory_limit: Text = ""
    accelerator: Accelerator | None = None
    cpu_request: float = 0.0
    cpu_limit: float = 0.0
    memory_request: float = 0.0
    memory_limit: float = 0.0

    @model_validator(mode="after")
    def _known_by_their_texts(self) -> Resources:
        for name in ("cpu_request", "cpu_limit", "memory_request", "memory_limit"):
            if getattr(self, name) and not getattr(self, f"resource_{name}"):
                raise ValueError(f"{to_camel(name)} comes without {to_camel(f'resource_{name}')}")
        return self


class Container(_Part):
    """An executor's container."""

    image: Text
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    resources: Resources = Resources()


class PvcMount(_Named):
    """A claim at a path; `constant` is its name."""

    constant: Text
    mount_path: Text
    sub_path: Text = ""


class _Optional(_Named):
    optional: bool = False


class SecretKey(_Part):
    """A key of a Secret that becomes a variable."""

    secret_key: Text
    env_var: str


class SecretAsEnv(_Optional):
    """Keys of a Secret as variables."""

    secret_name: Text
    key_to_env: tuple[SecretKey, ...]


class SecretAsVolume(_Optional):
    """A Secret as files."""

    secret_name: Text
    mount_path: Text


class ConfigMapKey(_Part):
    """A key of a ConfigMap that becomes a variable."""

    config_map_key: Text
    env_var: str


class ConfigMapAsEnv(_Optional):
    """Keys of a ConfigMap as variables."""

    config_map_name: Text
    key_to_env: tuple[ConfigMapKey, ...]


class ConfigMapAsVolume(_Optional):
    """A ConfigMap as files."""

    config_map_name: Text
    mount_path: Text


class ImagePullSecret(_Named):
    """A Secret with the login of a registry."""

    secret_name: Text


class FieldPathAsEnv(_Part):
    """A field of the pod as a variable."""

    name: str
    field_path: Text


class Toleration(_Part):
    """A taint that the pod puts up with."""

    key: Text = ""
    operator: Text = ""
    value: Text = ""
    effect: Text = ""
    toleration_seconds: int | None = None


class NodeSelector(_Part):
    """Labels that the node must have."""

    labels: dict[str, Text] = Field(default_factory=dict)


class Requirement(_Part):
    """What the value of a node's label must be."""

    key: Text
    operator: Text
    values: tuple[Text, ...] = ()


class NodeAffinityTerm(_Part):
    """A term that a node must meet, or with a weight one that is preferred."""

    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()
    weight: int | None = None


class EmptyDirMount(_Part):
    """A folder of the pod's own."""

    volume_name: Text
    mount_path: Text
    medium: Text = ""
    size_limit: Text = ""


class PodMetadata(_Part):
    """Labels and annotations of the pod."""

    labels: dict[str, Text] = Field(default_factory=dict)
    annotations: dict[str, Text] = Field(default_factory=dict)


class PodSettings(_Part):
    """What the platform document says of an executor on Kubernetes."""

    pvc_mount: tuple[PvcMount, ...] = ()
    secret_as_env: tuple[SecretAsEnv, ...] = ()
    secret_as_volume: tuple[SecretAsVolume, ...] = ()
    config_map_as_env: tuple[ConfigMapAsEnv, ...] = ()
    config_map_as_volume: tuple[ConfigMapAsVolume, ...] = ()
    image_pull_secret: tuple[ImagePullSecret, ...] = ()
    image_pull_policy: Literal["", "Always", "Never", "IfNotPresent"] = ""
    field_path_as_env: tuple[FieldPathAsEnv, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    node_selector: NodeSelector = NodeSelector()
    node_affinity: tuple[NodeAffinityTerm, ...] = ()
    empty_dir_mounts: tuple[EmptyDirMount, ...] = ()
    pod_metadata: PodMetadata = PodMetadata()
    active_deadline_seconds: int | None = None
