"""A target: a cluster as its owner describes it, in one YAML file that pipelines are compiled for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.placement.names import DnsLabel, Image
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Claim
from stepworks.placement.vertex import Endpoint
from stepworks.placement.vertex_rules import faults_on_vertex
from stepworks.settings_file import Setting, located_fault, read_settings

LONGEST_NAME_OF_A_MADE_CLAIM = 26
"""A volume's name has at most 63 characters; a run id has 36, and a dash is between."""

TrainsIn = Literal["step", "TrainJob"]
"""In what a model is trained: the pod of the step, or the pods of a TrainJob that the step makes."""

_Value = TypeVar("_Value")


class Target(Setting):
    """A cluster to compile for.

    Attributes:
        name: The target's name; also the name of its file and of the compiled one.
        backend: What runs the pipeline.
        images: The image reference of each image family.
        install: What each step installs when it starts, for a first try on a cluster without images of one's own: a
            wheel of this library (its URL, or its path on a claim or in the image), or a requirement such as
            `stepworks==0.1.0`. Not for production: each start takes a minute, needs a network, and holds the
            accelerator meanwhile.
        placements: The named placements that this cluster offers.
        roles: What pipelines ask for, and the placement that it gets here.
        claims: The volumes of the namespace, or of a run, under the names by which pipelines mount them; on Vertex AI
            folders in Cloud Storage.
        training: In what a pipeline that leaves it to the target trains: `step`, the pod of its step, or `TrainJob`,
            the pod of a job of Kubeflow Trainer, which the cluster then has.
        endpoint: Where models are deployed; for the backend vertex only.
    """

    name: DnsLabel
    description: str = ""
    backend: Literal["kubeflow", "vertex"] = "kubeflow"
    images: dict[str, Image]
    install: str | None = None
    placements: dict[str, Placement]
    roles: dict[str, str]
    claims: dict[DnsLabel, Claim] = Field(default_factory=dict)
    training: TrainsIn = "step"
    endpoint: Endpoint = Endpoint()

    @field_validator("install")
    @classmethod
    def _check_install(cls, value: str | None) -> str | None:
        if value is not None:
            install_requirement(value, "cpu")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, claim in self.claims.items():
            if claim.create and len(name) > LONGEST_NAME_OF_A_MADE_CLAIM:
                raise located_fault(
                    ("claims", name),
                    f"the claim {name} is made for each run and named {name}-<run id>, so its name has at most "
                    f"{LONGEST_NAME_OF_A_MADE_CLAIM} characters",
                )
        for role, placement in self.roles.items():
            if placement not in self.placements:
                raise located_fault(
                    ("roles", role), f"the role {role} names the placement {placement}, which is not in placements"
                )
        return self

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        on_vertex = self.backend == "vertex"
        for name, claim in self.claims.items():
            if on_vertex is not bool(claim.gcs):
                expected = "gcs: bucket/path, since Vertex AI has no claims" if on_vertex else "a claim, not gcs"
                raise located_fault(("claims", name), f"the backend {self.backend} needs for {name} {expected}")
        if on_vertex and self.training != "step":
            raise located_fault(
                ("training",), f"training: {self.training} is for the backend kubeflow: Vertex AI has no TrainJobs"
            )
        if not on_vertex and self.endpoint != Endpoint():
            raise located_fault(("endpoint",), "endpoint is for the backend vertex only")
        for name, placement in self.placements.items() if on_vertex else ():
            for field, fault in faults_on_vertex(placement):
                raise located_fault(("placements", name, *field), fault)
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a target's file.

        Raises:
            NotFoundError: There is no such file.
            ConfigurationError: It is not YAML, or a field is wrong; the message names the line and the field.
        """
        return read_settings(path, cls, "target file", "docs/targets.md")

    def image(self, family: str) -> str:
        """The image reference of a family; ConfigurationError when the target has none."""
        return _look_up(self.images, family, f"image for the family {family}", self.name)

    def requirement(self, family: str) -> str | None:
        """What a step of a family installs when it starts, with the packages of its image; None for nothing."""
        return self.install and install_requirement(self.install, family)

    def placement(self, role: str) -> Placement:
        """The placement of a role; ConfigurationError when the target has none."""
        return self.placements[_look_up(self.roles, role, f"placement for the role {role}", self.name)]

    def claim(self, name: str) -> Claim:
        """The volume that pipelines call `name`; ConfigurationError when the target has none."""
        return _look_up(self.claims, name, f"claim {name}", self.name)


_WHEEL = re.compile(r"(?:https?://\S+|/\S*)/?stepworks-\S+\.whl")
_REQUIREMENT = re.compile(r"stepworks(?P<version>(?:[=<>!~]=?[\w.*,<>=!~]+)?)")


def install_requirement(install: str, family: str) -> str:
    """The requirement that installs the library with the packages of an image family.

    Raises:
        ValueError: It is neither a wheel of this library nor a requirement of it.
    """
    extra = f"stepworks[{family}-image]"
    if _WHEEL.fullmatch(install):
        return f"{extra} @ {install if '://' in install else f'file://{install}'}"
    match = _REQUIREMENT.fullmatch(install.replace(" ", ""))
    if not match:
        raise ValueError(
            f"{install!r} is neither the URL or the absolute path of a wheel (…/stepworks-0.1.0-py3-none-any.whl) nor "
            "a requirement such as stepworks==0.1.0"
        )
    return f"{extra}{match['version']}"


def _look_up(table: Mapping[str, _Value], key: str, what: str, target: str) -> _Value:
    if key not in table:
        raise ConfigurationError(
            f"The target {target} has no {what}",
            received=key,
            expected=f"one of {', '.join(sorted(table)) or 'none'}",
            what_to_do=f"Add it to targets/{target}.yaml, or ask for one that is there.",
        )
    return table[key]


def read_targets(folder: Path, names: Sequence[str] = ()) -> dict[str, Target]:
    """Read the named targets in a folder, or every one, by name.

    Raises:
        NotFoundError: The folder holds no target, or none of a name.
        ConfigurationError: One of them is wrong.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if not paths:
        raise NotFoundError(
            f"There is no target in {folder}/",
            expected="one YAML file a cluster, for example targets/a100.yaml",
            what_to_do="Run in the folder of the checkout, or name the folder with --targets.",
        )
    for name in names:
        if name not in paths:
            raise NotFoundError(
                f"There is no target {name}",
                received=name,
                expected=f"one of {', '.join(paths)}",
                what_to_do=f"Correct the name, or describe the cluster in {folder / name}.yaml",
            )
    return {name: Target.read(paths[name]) for name in names or paths}
