"""What is to be trained and how, as whoever submits it writes it and every process reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.files import write_atomically
from stepworks.settings_file import Setting, describe_faults, whole_numbers


class _Settings(Setting):
    """Settings whose faults are told as an error of our tree."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigurationError(
                "A training setting is wrong",
                received=_with_values(error),
                expected=f"the fields of {type(self).__name__}",
                what_to_do="Correct the parameter of that name.",
            ) from error


def _with_values(error: ValidationError) -> str:
    found = error.errors(include_url=False)
    given = [f"{'.'.join(map(str, each['loc']))} is {each['input']!r}" for each in found if each["loc"]]
    return "; ".join([describe_faults(error), *given])


class LoopSettings(_Settings):
    """What the loop does; any of it changes the result, so a checkpoint of other settings is refused.

    Attributes:
        epochs: The most passes over the training samples.
        steps: The most optimizer steps; None for as many as the epochs have.
        batch_size: Samples an optimizer step, all processes together; the last, smaller batch of an epoch is left out.
        accumulation: Into how many parts each process splits its share of a batch, one after the other on the
            device; more take less memory and more time.
        learning_rate: The peak of the schedule.
        schedule: `one_cycle` rises and falls, as does the momentum against it; `cosine` rises and falls; `constant`
            rises and stays.
        warmup: The share of the steps in which the learning rate rises.
        weight_decay: AdamW's decoupled weight decay.
        clip_norm: The greatest norm of the gradient, to which a larger one is scaled down; None for any.
        monitor: The figure of a validation by which the best epoch is chosen: `validation_loss`, `validation_auc` of
            a model with one logit a sample, or what the model's `figures` returns, with `validation_` before its name.
        higher_is_better: Whether the greatest or the least value of `monitor` is the best; None for what fits the
            names that end with loss, error or perplexity, and those that do not.
        patience: Validations without a better value before training stops; None to go on to the end.
        loss_limit: Training has diverged once the loss of a step is above this; None for any finite loss.
        seed: The seed of weights, dropout and order: of the generators of Python, numpy and torch.
    """

    epochs: int = Field(20, gt=0)
    steps: int | None = Field(None, gt=0)
    batch_size: int = Field(2048, gt=0)
    accumulation: int = Field(1, gt=0)
    learning_rate: float = Field(2e-3, gt=0)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = Field(0.2, ge=0, lt=1)
    weight_decay: float = Field(1e-2, ge=0)
    clip_norm: float | None = Field(1.0, gt=0)
    monitor: str = "validation_loss"
    higher_is_better: bool | None = None
    patience: int | None = Field(4, gt=0)
    loss_limit: float | None = Field(None, gt=0)
    seed: int = 0

    @property
    def maximize(self) -> bool:
        """Whether the greatest value of `monitor` is the best."""
        if self.higher_is_better is not None:
            return self.higher_is_better
        return not self.monitor.endswith(("loss", "error", "perplexity"))


class ParallelSettings(_Settings):
    """How the computation is spread and carried out.

    Attributes:
        strategy: `none` for one process; `ddp` has the whole model in each; `fsdp` shards weights, gradients and
            optimizer state, for models that do not fit; `auto` is `none` for one process and `ddp` for more.
        precision: `bf16` and `fp16` compute under autocast and keep the weights in float32; fp16 scales the loss.
        compile: Whether torch.compile is used.
        deterministic: Whether only operations are used whose result is the same each time, so that a resumed run
            ends bit-equal to an undisturbed one on the same devices. Some are slower.
        device: `cpu`, `cuda`, or `auto` for a GPU when there is one.
        timeout_seconds: How long a process waits for the others before it says that they are lost.
    """

    strategy: Literal["auto", "none", "ddp", "fsdp"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    deterministic: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    timeout_seconds: float = Field(600, gt=0)

    @model_validator(mode="after")
    def _refuse_what_does_not_go_together(self) -> Self:
        if self.strategy == "fsdp" and self.precision == "fp16":
            raise ConfigurationError(
                "The precision fp16 cannot be had with the strategy fsdp",
                received="precision fp16, strategy fsdp",
                expected="bf16, which needs no scaling of the loss",
                what_to_do="Set precision to bf16, or strategy to ddp.",
            )
        return self


class CheckpointSettings(_Settings):
    """When the state is kept. There is a checkpoint at the end of each epoch in any case.

    Attributes:
        every_steps: Optimizer steps between checkpoints; None for none by steps.
        every_seconds: Seconds between checkpoints; None for none by time.
        keep: How many of the newest stay, beside the best.
        asynchronous: Whether training goes on while a checkpoint is written.
    """

    every_steps: int | None = Field(None, gt=0)
    every_seconds: float | None = Field(300.0, gt=0)
    keep: int = Field(2, ge=2)
    asynchronous: bool = True


Arguments = Annotated[dict[str, Any], BeforeValidator(whole_numbers)]
"""Keyword arguments by name. A whole number among them is an int, however it was written."""


Form = Literal["builders", "entrypoint", "command"]
_FORMS: Mapping[Form, str] = {"builders": "model and data", "entrypoint": "an entrypoint", "command": "a command"}
_OF_ONE_FORM: Mapping[str, Form] = {
    "model_settings": "builders",
    "data_settings": "builders",
    "parallel": "builders",
    "settings": "entrypoint",
}


class TrainingSpec(_Settings):
    """A training run in one of the three forms of the contract.

    Attributes:
        model: The model builder, `package.module:name`; with `data` it is the first form.
        data: The data builder, `package.module:name`.
        model_settings: Keyword arguments of the model builder; refused without one.
        data_settings: Keyword arguments of the data builder; refused without one.
        entrypoint: A function that is called with a `TrainingContext`, `package.module:name`; the second form.
        settings: Keyword arguments of the entrypoint; refused without one.
        command: A command and its arguments, run by each process; the third form.
        inputs: Files and folders by name; a relative path is below `inputs/` of the workspace. The first form takes
            `train`, `validation` and `transform`, and hands any other to the model builder by its name.
        loop: What the loop does; of the first form.
        parallel: How the computation is spread; of the first form, and refused with the others.
        checkpoints: When the state is kept; of the first form, and how many of the second.
        log_every_steps: Optimizer steps between two lines of metrics.
        grace_seconds: How long the processes may go on after SIGTERM. The pod must give as much.
    """

    model: str = ""
    data: str = ""
    model_settings: Arguments = Field(default_factory=dict)
    data_settings: Arguments = Field(default_factory=dict)
    entrypoint: str = ""
    settings: Arguments = Field(default_factory=dict)
    command: list[str] = Field(default_factory=list)
    inputs: dict[str, str] = Field(default_factory=dict)
    loop: LoopSettings = LoopSettings()
    parallel: ParallelSettings = ParallelSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    log_every_steps: int = Field(10, gt=0)
    grace_seconds: float = Field(30, gt=0)

    @property
    def form(self) -> Form:
        """Which form of the contract it is."""
        return "command" if self.command else "entrypoint" if self.entrypoint else "builders"

    @model_validator(mode="after")
    def _is_exactly_one_form(self) -> Self:
        given = [
            name
            for name, value in (
                ("model and data", self.model or self.data),
                ("entrypoint", self.entrypoint),
                ("command", self.command),
            )
            if value
        ]
        expected = "exactly one of: model and data, entrypoint, command"
        if len(given) != 1:
            raise ConfigurationError(
                "It is not clear what is to be trained",
                received=" and ".join(given) or "none of them",
                expected=expected,
                what_to_do="Give one of the three.",
            )
        if bool(self.model) != bool(self.data):
            missing = "data" if self.model else "model"
            raise ConfigurationError(
                f"The {missing} builder is missing",
                received=f"model {self.model!r}, data {self.data!r}",
                expected=expected,
                what_to_do=f"Give the parameter {missing} as well.",
            )
        return self

    @model_validator(mode="after")
    def _has_nothing_of_another_form(self) -> Self:
        given = self.model_dump(include=set(_OF_ONE_FORM), exclude_defaults=True)
        for name, value in given.items():
            if _OF_ONE_FORM[name] != self.form:
                own = _FORMS[_OF_ONE_FORM[name]]
                raise ConfigurationError(
                    f"{name} means nothing to what is to be trained",
                    received=f"{name}: {value}, and {_FORMS[self.form]}",
                    expected=f"{name} beside {own}",
                    what_to_do=f"Take {name} out, or give {own}.",
                )
        return self

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_atomically(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            NotFoundError: There is no such file.
            ConfigurationError: It is no training spec.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise NotFoundError(
                f"There is no training spec {path}",
                received=error.strerror or str(error),
                what_to_do="Start the processes with the workspace that was prepared for them.",
            ) from error
        except ValidationError as error:
            raise ConfigurationError(f"{path} is no training spec", received=describe_faults(error)) from error
