"""A target: a cluster as its owner describes it, in one YAML file that pipelines are compiled for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.placement.placement import Mount, Placement

_Value = TypeVar("_Value")


class Target(BaseModel):
    """A cluster to compile for.

    Attributes:
        name: The target's name; also the name of its file and of the compiled one.
        backend: What runs the pipeline.
        images: The image reference of each image family.
        placements: The named placements that this cluster offers.
        roles: What pipelines ask for, and the placement that it gets here.
        claims: The claims of the namespace, under the names by which pipelines mount them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    description: str = ""
    backend: Literal["kubeflow"] = "kubeflow"
    images: dict[str, str]
    placements: dict[str, Placement]
    roles: dict[str, str]
    claims: dict[str, Mount] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for role, placement in self.roles.items():
            if placement not in self.placements:
                raise ValueError(f"the role {role} names the placement {placement}, which is not in placements")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a target's file.

        Raises:
            NotFoundError: There is no such file.
            ConfigurationError: It is not YAML, or a field is wrong.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NotFoundError(f"There is no target file {path}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The target file {path} is not YAML", received=str(error), what_to_do="Correct the file."
            ) from error
        try:
            target = cls.model_validate(content)
        except ValidationError as error:
            raise ConfigurationError(
                f"The target file {path} is wrong",
                received="; ".join(
                    f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {fault['msg']}"
                    for fault in error.errors()
                ),
                expected="the fields that docs/targets.md describes",
                what_to_do="Correct the file.",
            ) from error
        if target.name != path.stem:
            raise ConfigurationError(
                f"The target file {path} has another name than its target",
                received=f"name: {target.name}",
                expected=f"name: {path.stem}",
                what_to_do="Rename one of them.",
            )
        return target

    def image(self, family: str) -> str:
        """The image reference of a family; ConfigurationError when the target has none."""
        return _look_up(self.images, family, f"image for the family {family}", self.name)

    def placement(self, role: str) -> Placement:
        """The placement of a role; ConfigurationError when the target has none."""
        return self.placements[_look_up(self.roles, role, f"placement for the role {role}", self.name)]

    def claim(self, name: str) -> Mount:
        """The claim that pipelines call `name`; ConfigurationError when the target has none."""
        return _look_up(self.claims, name, f"claim {name}", self.name)


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
    targets = {path.stem: Target.read(path) for path in sorted(folder.glob("*.yaml"))}
    if not targets:
        raise NotFoundError(
            f"There is no target in {folder}/",
            expected="one YAML file a cluster, for example targets/a100.yaml",
            what_to_do="Run in the folder of the checkout, or name the folder with --targets.",
        )
    for name in names:
        if name not in targets:
            raise NotFoundError(
                f"There is no target {name}",
                received=name,
                expected=f"one of {', '.join(targets)}",
                what_to_do=f"Correct the name, or describe the cluster in {folder / name}.yaml",
            )
    return {name: targets[name] for name in names} if names else targets
