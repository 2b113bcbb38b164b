"""What an InferenceService says so that KServe serves a package of each format: data, and no library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stepworks.errors import ConfigurationError
from stepworks.serving.manifest import MODEL_FOLDER, ONNXRUNTIME


@dataclass(frozen=True)
class Served:
    """One way for KServe to serve a format.

    Attributes:
        runtime: The ServingRuntime or ClusterServingRuntime.
        model_format: The format as the runtime names it.
        protocol: The protocol that it is asked by: v1, or the Open Inference Protocol, v2.
        folder: What of the package is its `storageUri`; empty for the whole package.
        arguments: Arguments of the server, on top of the runtime's.
        environment: Environment variables of the server.
        ours: Whether the runtime is one of `cluster/serving-runtimes`, which is to be applied first; KServe
            installs the others.
        warning: What one should know before choosing it.
    """

    runtime: str
    model_format: str
    protocol: Literal["v1", "v2"] = "v2"
    folder: str = MODEL_FOLDER
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    warning: str = ""

    def storage_uri(self, package: str) -> str:
        """The `storageUri` of a package that lies at a URI."""
        return f"{package.rstrip('/')}/{self.folder}".rstrip("/")


_OLD_TRITON = (
    "KServe starts Triton 23.05, which knows no GPU newer than Hopper; name a newer image in runtimeVersion, "
    "for example 25.08-py3."
)
_OLD_TORCHSERVE = (
    "TorchServe is archived upstream, and KServe starts its 0.9.0 of 2023 (PyTorch 2.1). Prefer triton, "
    "unless you run TorchServe already."
)
_OLD_TGI = "TGI is in maintenance upstream, which recommends vLLM."
_NO_PACKAGES = (
    "Triton's image holds neither onnxruntime nor torch for Python: extend it with the one that the package needs."
)

SERVED: Mapping[str, tuple[Served, ...]] = {
    ONNXRUNTIME: (Served("stepworks-onnxruntime", "onnx", folder="", ours=True),),
    "triton": (Served("kserve-tritonserver", "triton", warning=_OLD_TRITON),),
    "triton-torchscript": (Served("kserve-tritonserver", "triton", warning=_OLD_TRITON),),
    "triton-python": (Served("kserve-tritonserver", "triton", warning=f"{_OLD_TRITON} {_NO_PACKAGES}"),),
    "torchserve": (Served("kserve-torchserve", "pytorch", warning=_OLD_TORCHSERVE),),
    "huggingface": (
        Served("kserve-huggingfaceserver", "huggingface", arguments=("--model_dir=/mnt/models",)),
        Served("kserve-vllmserver", "vLLM", warning="The runtime is there from KServe 0.20 on."),
        Served("stepworks-tgi", "tgi", ours=True, warning=_OLD_TGI),
    ),
    "sklearn": (Served("kserve-sklearnserver", "sklearn"), Served("kserve-mlserver", "sklearn")),
    "xgboost": (Served("kserve-xgbserver", "xgboost"), Served("kserve-mlserver", "xgboost")),
    "lightgbm": (Served("kserve-lgbserver", "lightgbm"), Served("kserve-mlserver", "lightgbm")),
}
"""The ways to serve each format, the one to take first."""


def served(format: str, runtime: str = "") -> Served:  # noqa: A002  # its name in the manifest
    """How KServe serves a format.

    Args:
        format: The format, as the manifest of a package has it.
        runtime: One of the runtimes that serve it; empty for the first.

    Raises:
        ConfigurationError: There is no such format, or this runtime does not serve it.
    """
    ways = SERVED.get(format, ())
    for way in ways:
        if runtime in ("", way.runtime):
            return way
    raise ConfigurationError(
        f"A package of the format {format} is not served by {runtime}" if ways else f"There is no format {format}",
        received=runtime or format,
        expected=", ".join(way.runtime for way in ways) or ", ".join(SERVED),
        what_to_do="Name one of these.",
    )
