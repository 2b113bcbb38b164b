"""An environment: which versions and schedules a Kubeflow has, in one file of `environments/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from stepworks.errors import ConfigurationError, ParameterError
from stepworks.kubeflow.arguments import check_arguments, declared_in_ir
from stepworks.kubeflow.delivery.login import Login
from stepworks.kubeflow.delivery.replace import Put, put_schedule
from stepworks.kubeflow.delivery.schedule import Owner
from stepworks.kubeflow.delivery.schedule_spec import ScheduleSpec
from stepworks.kubeflow.delivery.server import Kubeflow
from stepworks.kubeflow.delivery.upload import Uploaded, upload
from stepworks.kubeflow.delivery.version_file import VersionFile, find_version_file
from stepworks.kubeflow.release import ReleaseIndex
from stepworks.kubeflow.semantic_version import Version
from stepworks.placement.names import DnsLabel
from stepworks.settings_file import Setting, read_settings


class Environment(Setting):
    """What one Kubeflow is to have.

    Attributes:
        name: The environment's name, which is its file's.
        project: Whose it is, where several repositories deliver to one Kubeflow.
        login: Where Kubeflow is, and as whom to speak to it.
        target: The target whose compiled files are delivered.
        released_only: Whether a version must be released (`stepworks release`) before it is delivered.
        pipelines: The versions to upload, of each pipeline.
        schedules: The schedules; the versions that they run are uploaded with them.
    """

    name: DnsLabel
    project: DnsLabel = "stepworks"
    login: Login
    target: str
    released_only: bool = True
    pipelines: dict[str, list[Version]] = Field(default_factory=dict)
    schedules: list[ScheduleSpec] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [schedule.name for schedule in self.schedules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the schedules {', '.join(twice)} are there twice; expected each name once")
        return self

    @property
    def owner(self) -> Owner:
        """The mark of its schedules."""
        return Owner(self.project, self.name)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an environment's file.

        Raises:
            NotFoundError: There is no such file.
            ConfigurationError: It is not YAML, or a field is wrong; the message names the line and the field.
        """
        return read_settings(path, cls, "environment file", "docs/delivery.md")


@dataclass(frozen=True)
class Plan:
    """What is delivered, found and checked before anything is written."""

    environment: Environment
    files: dict[tuple[str, str], VersionFile]


def plan(environment: Environment, compiled: Path, source: Path) -> Plan:
    """Find the compiled files of an environment, and check its parameters against them. Writes nothing.

    Args:
        environment: The environment.
        compiled: The folder of compiled files.
        source: The environment's file, for messages.

    Raises:
        NotFoundError: A version is not compiled for the target.
        ConfigurationError: A version is not released, or a released file was changed.
        ParameterError: A schedule has a parameter that its pipeline does not take.
    """
    wanted = [(pipeline, version) for pipeline, versions in environment.pipelines.items() for version in versions]
    wanted += [(schedule.pipeline, schedule.version) for schedule in environment.schedules]
    index = ReleaseIndex.read(compiled)
    files = {
        (pipeline, version): find_version_file(compiled, pipeline, version=version, target=environment.target)
        for pipeline, version in dict.fromkeys(wanted)
    }
    for file in files.values():
        if environment.released_only and not index.is_released(file.pipeline, file.version, file.target):
            raise ConfigurationError(
                f"{file.pipeline} {file.version} is not released for the target {file.target}",
                received=f"{source}",
                expected="a released version, whose file never changes",
                what_to_do=f"Release it: stepworks release {file.pipeline}; or set released_only: false.",
            )
    for schedule in environment.schedules:
        declared = declared_in_ir(files[schedule.pipeline, schedule.version].ir.inputs)
        try:
            check_arguments(schedule.pipeline, declared, schedule.parameters)
        except ParameterError as error:
            error.add_note(f"It is in the schedule {schedule.name} of {source}.")
            raise
    return Plan(environment, files)


def deliver(
    plan: Plan,
    server: Kubeflow,
    show_upload: Callable[[Uploaded], None],
    show_put: Callable[[Put, ScheduleSpec], None],
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Upload the versions and put the schedules in place; add and replace only, so that nothing else is touched.

    Args:
        plan: What is delivered.
        server: The API server.
        show_upload: Is told what became of each version.
        show_put: Is told what became of each schedule.
        tell: Is told what is waited for.

    Raises:
        DeliveryError: A version is there with other content, or Kubeflow does not answer. What is done stays done,
            and the same call goes on.
    """
    versions = {}
    for key, file in plan.files.items():
        uploaded = upload(server, file)
        versions[key] = uploaded.version
        show_upload(uploaded)
    for schedule in plan.environment.schedules:
        put = put_schedule(
            server, plan.environment.owner, schedule, versions[schedule.pipeline, schedule.version], tell=tell
        )
        show_put(put, schedule)
