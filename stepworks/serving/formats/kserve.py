"""What an InferenceService says so that KServe serves a package of each format: data, and no library."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from stepworks.errors import ConfigurationError
from stepworks.serving.manifest import MODEL_FOLDER, ONNXRUNTIME

SAME_ARITHMETIC = 1e-5
"""The largest difference of probabilities that float32 arithmetic in another order may explain."""
OTHER_ARITHMETIC = 1e-3
"""What other kernels, of another library or on a GPU, may explain."""


@dataclass(frozen=True)
class Served:
    """One way for KServe to serve a format.

    Attributes:
        runtime: The ServingRuntime or ClusterServingRuntime.
        model_format: The format as the runtime names it.
        protocol: The protocol that it is asked by: v1, or the Open Inference Protocol, v2.
        folder: What of the package is its `storageUri`; empty for the whole package.
        arguments: Arguments of the server, on top of the runtime's; `{model}` stands for the model's name.
        environment: Environment variables of the server.
        path: Where it takes requests; `{name}` stands for the InferenceService's name.
        shared_arguments: Arguments with which every version is asked by the model's own name, as behind a Gateway,
            which sends a request on at the path at which it came. Of no meaning where `path` has no name.
        shared_environment: Environment variables to the same end.
        keeps_own_name: Whether a server that has them is asked by the InferenceService's name, too.
        model_name: By what name a request names the model; it must be the same for each version, since clients ask
            the router. `{model}` stands for the model's name. Of no meaning to tensors, whose `path` names it.
        dialect: What a request is: `tensors` of the Open Inference Protocol, or prompts to be completed, as OpenAI's
            interface takes them.
        no_null: Whether a missing number is the word NaN instead of null.
        largest_request: How many rows a request may have; None for any number.
        tolerance: How far an answer may be from the recorded one: the largest difference of a number, on top of that
            relative to numbers above 1; of a text, the share of it that may differ, from its first difference on.
        excused: The share of the recorded rows that may be further off.
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
    path: str = "/v2/models/{name}/infer"
    shared_arguments: tuple[str, ...] = ()
    shared_environment: Mapping[str, str] = field(default_factory=dict)
    keeps_own_name: bool = False
    model_name: str = "{model}"
    dialect: Literal["tensors", "completions"] = "tensors"
    no_null: bool = False
    largest_request: int | None = None
    tolerance: float = OTHER_ARITHMETIC
    excused: float = 0.0
    ours: bool = False
    warning: str = ""

    def arguments_for(self, model: str) -> tuple[str, ...]:
        """The server's arguments for a model of that name."""
        return tuple(argument.format(model=model) for argument in self.arguments)

    def sharing(self, model: str) -> tuple[tuple[str, ...], dict[str, str]]:
        """The arguments and the environment with which every version of a model of that name is asked by it."""
        arguments = tuple(argument.format(model=model) for argument in self.shared_arguments)
        return arguments, {name: value.format(model=model) for name, value in self.shared_environment.items()}

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

_MODEL_OF_THE_PACKAGE = "/v2/models/model/infer"
"""The one model of the repository, or of the archive, that a package holds is named `model`."""

_triton = functools.partial(
    Served, "kserve-tritonserver", "triton", path=_MODEL_OF_THE_PACKAGE, no_null=True, largest_request=64
)
# A likeliest token is another one where two are nearly as likely, and so is then all that follows.
_completions = functools.partial(Served, dialect="completions", tolerance=0.5, excused=0.3)

_python = functools.partial(Served, shared_arguments=("--model_name={model}",))
_mlserver = functools.partial(Served, "kserve-mlserver", shared_environment={"MLSERVER_MODEL_NAME": "{model}"})

SERVED: Mapping[str, tuple[Served, ...]] = {
    ONNXRUNTIME: (
        Served(
            "stepworks-onnxruntime",
            "onnx",
            folder="",
            shared_arguments=("--alias={model}",),
            keeps_own_name=True,
            tolerance=SAME_ARITHMETIC,
            ours=True,
        ),
    ),
    "triton": (_triton(warning=_OLD_TRITON),),
    "triton-torchscript": (_triton(warning=_OLD_TRITON),),
    "triton-python": (_triton(warning=f"{_OLD_TRITON} {_NO_PACKAGES}"),),
    "torchserve": (Served("kserve-torchserve", "pytorch", path=_MODEL_OF_THE_PACKAGE, warning=_OLD_TORCHSERVE),),
    "huggingface": (
        _completions(
            "kserve-huggingfaceserver",
            "huggingface",
            arguments=("--model_dir=/mnt/models", "--model_name={model}"),
            path="/openai/v1/completions",
        ),
        _completions(
            "kserve-vllmserver",
            "vLLM",
            arguments=("--served-model-name={model}",),
            path="/v1/completions",
            warning="The runtime is there from KServe 0.20 on.",
        ),
        _completions("stepworks-tgi", "tgi", path="/v1/completions", model_name="tgi", ours=True, warning=_OLD_TGI),
        _completions(
            "stepworks-transformers",
            "transformers",
            path="/v1/completions",
            model_name="/mnt/models",
            ours=True,
            warning="It is for small models and little traffic: vLLM answers many requests at once.",
        ),
    ),
    "sklearn": (_python("kserve-sklearnserver", "sklearn"), _mlserver(model_format="sklearn")),
    "xgboost": (_python("kserve-xgbserver", "xgboost"), _mlserver(model_format="xgboost")),
    "lightgbm": (_python("kserve-lgbserver", "lightgbm"), _mlserver(model_format="lightgbm")),
}
"""The ways to serve each format, the one to take first."""


def served(format: str, runtime: str = "") -> Served:  # noqa: A002  # its name in the manifest
    """How KServe serves a format.

    Args:
        format: The format, as the manifest of a package has it.
        runtime: The runtime: one of those that serve it, or one of your own that takes what the first of them takes;
            empty for the first.

    Raises:
        ConfigurationError: There is no such format, or this runtime is one for another.
    """
    ways = SERVED.get(format, ())
    for way in ways:
        if runtime in ("", way.runtime):
            return way
    known = {way.runtime for others in SERVED.values() for way in others}
    if ways and runtime not in known:
        return replace(ways[0], runtime=runtime)
    raise ConfigurationError(
        f"A package of the format {format} is not served by {runtime}" if ways else f"There is no format {format}",
        received=runtime or format,
        expected=", ".join(way.runtime for way in ways) or ", ".join(SERVED),
        what_to_do="Name one of these.",
    )
