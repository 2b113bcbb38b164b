"""The decorator that every step is declared with."""

from collections.abc import Callable
from typing import Any, Literal

from kfp import dsl

ImageFamily = Literal["cpu", "gpu", "serving"]
"""The image that a step runs in, by what it holds; the target says where that image is (`images`)."""


def image_of(family: ImageFamily) -> str:
    """Name the image of `family` before a target has said where it is."""
    return f"stepworks-python/{family}"


def component(image: ImageFamily) -> Callable[[Callable[..., Any]], Any]:
    """Declare a function as a step that runs in the image of a family.

    The image holds `stepworks` and kfp, so nothing is installed when the step starts: a GPU that waits for pip
    is paid for, and an unpinned package breaks a run that passed yesterday.

    Args:
        image: The image family. Compiling replaces it by the target's reference.
    """

    def declare(function: Callable[..., Any]) -> Any:
        return dsl.component(
            func=function,
            base_image=image_of(image),
            packages_to_install=[],
            install_kfp_package=False,
            pip_trusted_hosts=[],
        )

    return declare
