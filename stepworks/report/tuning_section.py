"""What the report says about a search for the best parameters."""

from __future__ import annotations

from stepworks.report.documents import Trial, TuningDocument
from stepworks.report.markup import Markup, element, join, table
from stepworks.report.plots import parameter_plot, trials_plot
from stepworks.report.section import Section, facts, figure, plots
from stepworks.report.wording import duration, plural, short

_STATES = {
    "succeeded": "succeeded",
    "stopped_early": "stopped early",
    "failed": "failed",
    "killed": "ended from outside",
    "without_metrics": "reported nothing",
    "running": "not ended",
}


def tuning_section(tuning: TuningDocument, name: str) -> Section:
    """Which parameters were the best, and all that was tried."""
    best = tuning.best_trial
    found = "no trial reported it" if best is None else f"{short(best.metrics[tuning.metric])}, {best.name}"
    kind = "smallest" if tuning.goal == "minimize" else "largest"
    content = [
        facts(
            {
                "Searched by": f"{tuning.searched_by}, {tuning.algorithm}",
                "Looked for": f"the {kind} {tuning.metric}",
                "Trials": f"{_counted(tuning)}; ended because {tuning.ended_by}",
                "Best": found,
                **({} if best is None else {key: element("code", _written(v)) for key, v in best.parameters.items()}),
            }
        )
    ]
    if best is not None:
        drawn = [figure(trials_plot(tuning, f"{name}-trials"), "Trials", "in the order in which they began")]
        drawn += [
            figure(parameter_plot(tuning, each, f"{name}-by-{number}"), each)
            for number, each in enumerate(best.parameters)
        ]
        content.append(plots(drawn))
    content.append(element("details", element("summary", "All trials"), _table(tuning)))
    return Section("Tuning", join(content))


def _counted(tuning: TuningDocument) -> str:
    states = [trial.state for trial in tuning.trials]
    parts = [f"{states.count(state)} {_STATES[state]}" for state in dict.fromkeys(states)]
    return f"{plural(len(states), 'trial')} ({', '.join(parts)})" if states else "none"


def _table(tuning: TuningDocument) -> Markup:
    parameters = list(tuning.trials[0].parameters) if tuning.trials else []
    metrics = list(dict.fromkeys([tuning.metric, *(name for trial in tuning.trials for name in trial.metrics)]))
    rows = [_row(trial, parameters, metrics, is_best=trial.name == tuning.best) for trial in tuning.trials]
    head = ["Trial", *parameters, *metrics, "Time", ""]
    return table(head, rows, numbers=range(1, len(head) - 1), label="All trials of the search")


def _row(trial: Trial, parameters: list[str], metrics: list[str], *, is_best: bool) -> list[str]:
    return [
        trial.name,
        *(_written(trial.parameters[name]) for name in parameters),
        *(short(trial.metrics[name]) if name in trial.metrics else "" for name in metrics),
        duration(trial.seconds) if trial.seconds is not None else "",
        "best" if is_best else "" if trial.state == "succeeded" else _STATES[trial.state],
    ]


def _written(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return short(value) if isinstance(value, float) else str(value)
