"""How Optuna chooses values and stops trials, for each of Katib's algorithms that it has, with their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stepworks.errors import ConfigurationError
from stepworks.training.parameters import Value
from stepworks.tuning.metrics_collector import MetricsCollector
from stepworks.tuning.spec import Algorithm, TuningSpec

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_Argument = tuple[str, Callable[[Any], Any]]


def _whole(value: Value) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"{value} is not a whole number")
    return int(number)


_SEED: Mapping[str, _Argument] = {"random_state": ("seed", _whole)}
_OF_TPE: Mapping[str, _Argument] = {
    **_SEED,
    "n_startup_trials": ("n_startup_trials", _whole),
    "n_ei_candidates": ("n_ei_candidates", _whole),
    "n_EI_candidates": ("n_ei_candidates", _whole),  # as Katib's tpe calls it, which is hyperopt's
    "prior_weight": ("prior_weight", float),
}
_ARGUMENTS: Mapping[Algorithm, Mapping[str, _Argument]] = {
    "random": _SEED,
    "grid": _SEED,  # its points have an order, whatever the seed
    "tpe": _OF_TPE,
    "multivariate-tpe": _OF_TPE,
    "bayesianoptimization": {**_SEED, "n_initial_points": ("n_startup_trials", _whole)},
    "sobol": _SEED,
    "hyperband": _OF_TPE,
}
"""What Optuna calls a setting of Katib's, and its type, by algorithm; the algorithms that Optuna has are those."""
_OF_HYPERBAND: Mapping[str, _Argument] = {
    "r_l": ("max_resource", lambda value: max(1, int(float(value)))),  # to Katib it may be a fraction
    "eta": ("reduction_factor", _whole),
}


def sampler_of(spec: TuningSpec) -> BaseSampler:
    """What chooses the values of the trials. Without the setting `random_state` its seed is 0.

    Raises:
        ConfigurationError: Optuna does not have the algorithm, or refuses one of its settings.
    """
    from optuna import samplers

    made: Mapping[Algorithm, Callable[..., BaseSampler]] = {
        "random": samplers.RandomSampler,
        "grid": samplers.RandomSampler,  # which is not asked: the points of a grid are enqueued
        "tpe": samplers.TPESampler,
        "hyperband": samplers.TPESampler,
        "multivariate-tpe": lambda **given: samplers.TPESampler(**given, multivariate=True),
        "bayesianoptimization": samplers.GPSampler,
        "sobol": lambda **given: samplers.QMCSampler(**given, qmc_type="sobol", scramble=True),
    }
    if spec.algorithm not in made:
        raise ConfigurationError(
            f"The algorithm {spec.algorithm} cannot be tried on this machine",
            received=f"algorithm: {spec.algorithm}",
            expected=f"one of {', '.join(_ARGUMENTS)}",
            what_to_do="Try the pipeline here with tpe; in the cluster Katib has this one.",
        )
    return _made(spec, made[spec.algorithm], _ARGUMENTS[spec.algorithm], {"seed": 0})


def pruner_of(spec: TuningSpec) -> BasePruner:
    """What stops trials early: the rule of hyperband, that of `early_stopping`, or none.

    Raises:
        ConfigurationError: Optuna refuses a setting.
    """
    from optuna import pruners

    stopping = spec.early_stopping
    if spec.algorithm == "hyperband":
        return _made(spec, pruners.HyperbandPruner, _OF_HYPERBAND, {})
    if stopping is None:
        return pruners.NopPruner()
    return pruners.MedianPruner(
        n_startup_trials=stopping.min_trials, n_warmup_steps=stopping.start_step, n_min_trials=stopping.min_trials
    )


def unused_settings(spec: TuningSpec) -> list[str]:
    """What a search was told that Optuna has no use for, as `name: value`."""
    used = {*_ARGUMENTS.get(spec.algorithm, ())}
    if spec.algorithm == "hyperband":
        used |= {*_OF_HYPERBAND, "resource_name"}
    found = [f"{name}: {value}" for name, value in spec.algorithm_settings.items() if name not in used]
    if spec.algorithm == "hyperband" and spec.early_stopping:
        found.append("early_stopping, since hyperband stops trials by its own rule")
    if spec.metrics_collector != MetricsCollector():
        found.append(f"metrics_collector: {spec.metrics_collector.kind}")
    return found


def _made(
    spec: TuningSpec, kind: Callable[..., Any], arguments: Mapping[str, _Argument], defaults: Mapping[str, Value]
) -> Any:
    given = {name: value for name, value in spec.algorithm_settings.items() if name in arguments}
    try:
        return kind(**{**defaults, **{arguments[name][0]: arguments[name][1](value) for name, value in given.items()}})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"Optuna cannot search by {spec.algorithm} with these settings",
            received=f"{', '.join(f'{name}: {value}' for name, value in given.items())}; {error}",
            expected="algorithm_settings as Katib's documentation of the algorithm lists them",
            what_to_do="Correct algorithm_settings; nothing was started.",
        ) from error
