"""A step as a custom job of Vertex AI."""

from __future__ import annotations

import copy
from typing import Any

from kfp import dsl
from kfp.dsl import container_component_class

from stepworks.kubeflow.ir_yaml import minimize_command
from stepworks.kubeflow.vertex.extra import require_installed
from stepworks.placement.placement import Placement
from stepworks.placement.vertex import VertexSettings

_LONGEST_SECONDS = 7 * 24 * 3600
"""How long Vertex lets a custom job run for which no timeout is stated."""


def run_as_custom_job(task: dsl.PipelineTask, placement: Placement, vertex: VertexSettings) -> None:
    """Make a task run on a machine of its own: what it runs becomes the payload of a step that starts a custom job.

    Its inputs and outputs stay as they are. Those that the wrapping adds all have defaults, so that the task, which
    was made already, can take the wrapped component in place of its own.

    Args:
        task: A task with its image, command and environment set.
        placement: Its placement.
        vertex: The machine.

    Raises:
        ConfigurationError: google-cloud-pipeline-components is not installed.
    """
    require_installed()
    from google_cloud_pipeline_components.v1.custom_job import utils

    wrapped = utils.create_custom_training_job_from_component(
        _component_of(task),
        display_name=task.component_spec.name,
        machine_type=vertex.machine_type,
        accelerator_type=vertex.accelerator_type or "",
        accelerator_count=placement.accelerator.count if placement.accelerator else 0,
        boot_disk_type=vertex.boot_disk.type,
        boot_disk_size_gb=vertex.boot_disk.size_gb,
        timeout=f"{placement.timeout_seconds or _LONGEST_SECONDS}s",
        service_account=vertex.service_account or "",
        labels=placement.labels,
        env=[{"name": name, "value": value} for name, value in (task.container_spec.env or {}).items()],
        strategy="SPOT" if placement.preemptible else "STANDARD",
        # Without a value these two would be holes in the JSON of the request.
        reserved_ip_ranges=[],
        psc_interface_config={},
    )
    task.component_spec = wrapped.component_spec
    # As the task's constructor does it; kfp has no function for a task that takes another component.
    task.container_spec = task._extract_container_spec_and_convert_placeholders(wrapped.component_spec)  # noqa: SLF001


def _component_of(task: dsl.PipelineTask) -> Any:
    """A component that runs what the task does: the image and the command are those that the placement gave it."""
    specification = copy.deepcopy(task.component_spec)
    container = specification.implementation.container
    container.image = task.container_spec.image
    # The code becomes a text within a text, which compiling does not look into.
    container.command = minimize_command(task.container_spec.command)
    return container_component_class.ContainerComponent(specification, pipeline_func=None)
