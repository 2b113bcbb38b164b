"""The packages that compiling for Vertex AI takes, which a plain installation does not have."""

from __future__ import annotations

import importlib.util

from stepworks.errors import ConfigurationError

_PACKAGE = "google_cloud_pipeline_components"

INSTALL = "pip install 'stepworks[vertex]'; in a checkout: make compile-vertex"
"""How to get them."""


def is_installed() -> bool:
    """Whether pipelines can be compiled for Vertex AI here; imports nothing."""
    return importlib.util.find_spec(_PACKAGE) is not None


def require_installed() -> None:
    """See that pipelines can be compiled for Vertex AI here.

    Raises:
        ConfigurationError: The extra is missing.
    """
    if not is_installed():
        raise ConfigurationError(
            "Compiling for Vertex AI takes google-cloud-pipeline-components",
            received="an installation without the extra vertex",
            what_to_do=f"Install it: {INSTALL}",
        )
