"""What a search by Katib came to: its trials as Katib's objects tell them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from stepworks.errors import RunError
from stepworks.kube.kinds.manifests import Manifest
from stepworks.report.documents import Trial, TuningDocument
from stepworks.tuning.search_space import typed_assignments
from stepworks.tuning.spec import Objective, TuningSpec

_STATES: Mapping[str, Literal["succeeded", "stopped_early", "failed", "killed", "without_metrics"]] = {
    "EarlyStopped": "stopped_early",
    "MetricsUnavailable": "without_metrics",
    "Killed": "killed",
    "Failed": "failed",
    "Succeeded": "succeeded",
}
"""Katib's conditions of a trial that has ended, the telling ones first: a trial without metrics has succeeded, too."""


def read_tuning(spec: TuningSpec, experiment: Manifest, trials: Iterable[Manifest]) -> TuningDocument:
    """Read what a search came to.

    The best trial is chosen here, by the objective's rule, from the trials themselves: Katib's own
    `currentOptimalTrial` is there also where the search failed.

    Args:
        spec: What was searched for.
        experiment: The Experiment after its end.
        trials: Its Trials.

    Raises:
        RunError: A trial has other parameters than the search space.
    """
    read = [_trial(spec, manifest) for manifest in sorted(trials, key=_began)]
    return TuningDocument(
        searched_by="Katib",
        algorithm=spec.algorithm,
        metric=spec.objective.metric,
        goal=spec.objective.goal,
        trials=read,
        best=best_of(read, spec.objective),
        ended_by=_reason(experiment),
    )


def best_of(trials: Iterable[Trial], objective: Objective) -> str | None:
    """The name of the trial with the best figure; the first of several; None where none has it.

    Trials that failed or were killed do not count, also where they reported something before.
    """
    sign = 1.0 if objective.goal == "minimize" else -1.0
    counted = [each for each in trials if each.counts and objective.metric in each.metrics]
    found = [(sign * each.metrics[objective.metric], each.name) for each in counted]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def best_parameters(document: TuningDocument) -> dict[str, Any]:
    """The parameters of the best trial.

    Raises:
        RunError: No trial reported the metric.
    """
    best = document.best_trial
    if best is None:
        states = [trial.state for trial in document.trials]
        counted = ", ".join(f"{states.count(each)} {each.replace('_', ' ')}" for each in dict.fromkeys(states))
        raise RunError(
            f"No trial of the search reported {document.metric}",
            received=f"{len(states)} trials: {counted}" if states else "no trial",
            expected=f"a line `{document.metric}=<number>` in the output of each trial",
            what_to_do="Look at the log of a trial; correct what it reports, or the name of the objective's metric.",
        )
    return dict(best.parameters)


def _trial(spec: TuningSpec, manifest: Manifest) -> Trial:
    given = {each["name"]: str(each["value"]) for each in manifest["spec"].get("parameterAssignments", [])}
    status = manifest.get("status") or {}
    true = {each.get("type") for each in status.get("conditions") or [] if each.get("status") == "True"}
    state = next((state for condition, state in _STATES.items() if condition in true), "running")
    return Trial(
        name=manifest["metadata"]["name"],
        state=state,
        parameters=typed_assignments(spec.space, given),
        metrics=_metrics(spec.objective, status),
        seconds=_seconds(status),
    )


def _metrics(objective: Objective, status: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for each in (status.get("observation") or {}).get("metrics") or []:
        try:
            counts = objective.strategy if each["name"] == objective.metric else "latest"
            value = float(each[counts])
        except (KeyError, ValueError):  # Katib writes `unavailable` where a trial did not report it
            continue
        if math.isfinite(value):
            found[str(each["name"])] = value
    return found


def _seconds(status: Mapping[str, Any]) -> float | None:
    began, ended = status.get("startTime"), status.get("completionTime")
    if not (began and ended):
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def _began(manifest: Manifest) -> tuple[str, str]:
    status = manifest.get("status") or {}
    return str(status.get("startTime") or manifest["metadata"].get("creationTimestamp")), manifest["metadata"]["name"]


def _reason(experiment: Manifest) -> str:
    """Why the search ended, in words."""
    words = {
        "ExperimentGoalReached": "a trial reached the target",
        "ExperimentMaxTrialsReached": "all trials are done",
        "ExperimentSuggestionEndReached": "the algorithm has nothing more to try",
    }
    for condition in (experiment.get("status") or {}).get("conditions") or []:
        if condition.get("type") in {"Succeeded", "Failed"} and condition.get("status") == "True":
            reason = str(condition.get("reason", ""))
            return words.get(reason) or str(condition.get("message") or reason)
    return "it has not ended"
