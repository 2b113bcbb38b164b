"""What a training step is given, as a training spec: checked when its pipeline compiles, and read when it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from stepworks.errors import ConfigurationError
from stepworks.known import Later, known_mapping
from stepworks.training.parameters import with_parameters
from stepworks.training.spec import CheckpointSettings, LoopSettings, ParallelSettings, TrainingSpec

STEP_MONITOR = "validation_auc"
"""What the steps choose the best epoch by unless they are told otherwise; a spec of a notebook has a loss for it."""

_LATER = "known.later:known_later"  # stands for a builder that an earlier step names


class Artifact(Protocol):
    """An artifact of Kubeflow Pipelines."""

    @property
    def path(self) -> str:
        """Where its file or folder is."""
        ...


def step_spec(
    inputs: Mapping[str, Artifact | None],
    *,
    model: str,
    data: str,
    entrypoint: str,
    command: Sequence[str],
    loop: Mapping[str, Any],
    parallel: Mapping[str, Any],
    parameters: Mapping[str, Any],
    **settings: Any,
) -> TrainingSpec:
    """The spec of what a step was given.

    Args:
        inputs: The artifacts by name; None for one that was not given.
        model: The model builder; it counts where there is neither an entrypoint nor a command.
        data: The data builder; likewise.
        entrypoint: A function of the user's own.
        command: A command of the user's own.
        loop: Fields of `LoopSettings`; see `step_loop`.
        parallel: Fields of `ParallelSettings`.
        parameters: What a search chose; see `with_parameters`.
        **settings: Other fields of `TrainingSpec`.

    Raises:
        ConfigurationError: A value is wrong, or both an entrypoint and a command are given.
    """
    own = bool(entrypoint or command)
    spec = TrainingSpec(
        model="" if own else model,
        data="" if own else data,
        entrypoint=entrypoint,
        command=list(command),
        inputs=given_paths(inputs),
        loop=LoopSettings(**step_loop(loop)),
        parallel=ParallelSettings(**parallel),
        **settings,
    )
    return with_parameters(spec, parameters)


def trials_spec(training: Mapping[str, Any], inputs: Mapping[str, str]) -> TrainingSpec:
    """The spec of what the trials of a search train; it monitors what the step that trains with the best would.

    Args:
        training: Fields of `TrainingSpec` but `inputs`; for its `loop` see `step_loop`.
        inputs: The inputs by name, as `TrainingSpec` has them.

    Raises:
        ConfigurationError: A value is wrong, it is not one of the three forms, or it has inputs of its own.
    """
    if "inputs" in training:
        raise ConfigurationError(
            "The trials are given inputs twice",
            received=f"inputs {training['inputs']!r} in training",
            expected="the step's artifacts train_features, validation_features and transform",
            what_to_do="Take inputs out of training, and hand them to the step as artifacts.",
        )
    loop = training.get("loop", {})
    monitored = {"loop": step_loop(loop)} if isinstance(loop, Mapping) else {}  # another is refused as such
    return TrainingSpec(**{**training, **monitored, "inputs": dict(inputs)})


def step_loop(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `LoopSettings` as a step was given them, with `monitor` as `STEP_MONITOR` unless it is among them."""
    return {"monitor": STEP_MONITOR, **given}


def given_paths(artifacts: Mapping[str, Artifact | None]) -> dict[str, str]:
    """Where the artifacts are that a step was given, by name."""
    return {name: artifact.path for name, artifact in artifacts.items() if artifact is not None}


def check_training(known: Mapping[str, Any]) -> dict[str, str]:
    """See that what is known of a training step when its pipeline compiles can be trained.

    Args:
        known: The step's parameters that are known then, with their defaults.

    Returns:
        The references to code, by their roles.

    Raises:
        ConfigurationError: A setting is wrong, or it is not one of the three forms.
    """
    for name in ("model_settings", "data_settings", "settings"):
        known_mapping(known, name)
    loop = {name: known[name] for name in ("epochs", "batch_size", "learning_rate") if name in known}
    CheckpointSettings(**known_mapping(known, "checkpoints"))
    if "entrypoint" not in known or "command" not in known:
        LoopSettings(**step_loop({**loop, **known_mapping(known, "loop")}))
        ParallelSettings(**known_mapping(known, "parallel"))
        return {}
    command = ["known later" if isinstance(each, Later) else each for each in known["command"]]
    is_known = command == known["command"]  # what is known later may hold the place of a parameter
    spec = step_spec(
        {},
        model=known.get("model", _LATER),
        data=known.get("data", _LATER),
        entrypoint=known["entrypoint"],
        command=command,
        loop={**loop, **known_mapping(known, "loop")},
        parallel=known_mapping(known, "parallel"),
        parameters=known_mapping(known, "parameters") if is_known else {},
    )
    return references_of(spec)


def references_of(spec: TrainingSpec) -> dict[str, str]:
    """The references to code of a spec that are known, by their roles."""
    roles = {"model": spec.model, "data": spec.data, "entrypoint": spec.entrypoint}
    return {role: reference for role, reference in roles.items() if reference and reference != _LATER}
