"""The decorator that every step is declared with."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from kfp import dsl

from stepworks.errors import ConfigurationError

ImageFamily = Literal["cpu", "gpu", "serving"]
"""The image that a step runs in, by what it holds; the target says where that image is (`images`)."""


_PREFIX = "stepworks-python/"
"""Before a target has said where an image is, its reference is this and the family. kfp's local runner looks
for `python` in the name of an image."""


def family_of(task: dsl.PipelineTask) -> str:
    """The image family that a task's component was declared with.

    Raises:
        ConfigurationError: The component was not declared with `component`.
    """
    container = task.component_spec.implementation.container
    image = container.image if container else ""
    if not is_unplaced(image):
        raise ConfigurationError(
            f"The task {task.name} is not a step of this library",
            received=f"the image {image!r}",
            expected="a function declared with stepworks.kubeflow.component.component",
            what_to_do="Declare it with @component, or set its image and resources by kfp's own methods.",
        )
    return family_of_image(image)


def family_of_image(image: str) -> str:
    """The family that the reference of an unplaced image stands for."""
    return image.removeprefix(_PREFIX)


def is_unplaced(image: str) -> bool:
    """Whether an image reference is still a family's, so that no cluster could pull it."""
    return image.startswith(_PREFIX)


Check = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""Looks at the parameters of a task that are known when its pipeline is built, and refuses what cannot work; returns
the references to code among them, `package.module:name`, by what each is for."""


def component(image: ImageFamily, *, check: Check | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Declare a function as a step that runs in the image of a family.

    The image holds `stepworks` and kfp, so nothing is installed when the step starts: a GPU that waits for pip
    is paid for, and an unpinned package breaks a run that passed yesterday.

    Args:
        image: The image family. Compiling replaces it by the target's reference.
        check: What sees that a task's parameters can work before anything runs.
    """

    def declare(function: Callable[..., Any]) -> Any:
        declared = dsl.component(
            func=function,
            base_image=f"{_PREFIX}{image}",
            packages_to_install=[],
            install_kfp_package=False,
            pip_trusted_hosts=[],
        )
        declared.component_spec.check = check  # every task of the component has this very object
        return declared

    return declare
