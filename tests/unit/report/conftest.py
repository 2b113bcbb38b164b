"""The documents of a whole run, every kind among them, and the run that they are of."""

import pytest

from stepworks.report import canary_document as c
from stepworks.report import documents as d
from stepworks.report import run_record as r
from stepworks.report.page import run_report
from stepworks.report.preflight_document import PreflightCheck, PreflightDocument
from stepworks.report.shadow_document import ShadowDifference, ShadowDocument


def interval(value: float, half: float) -> d.Interval:
    return d.Interval(value=value, low=value - half, high=value + half)


def profile() -> d.ProfileDocument:
    return d.ProfileDocument(
        table="flights",
        rows=1000,
        dropped_rows={"cancelled": 25},
        target="late",
        target_rate=0.24,
        periods=[d.PeriodRate(period=f"2013-{month:02}", rows=80, rate=0.1 + 0.02 * month) for month in range(1, 13)],
        columns=[
            d.ColumnProfile(
                name="distance",
                type="integer",
                role="feature",
                nulls=160,
                distinct=300,
                minimum=80,
                maximum=4983,
                histogram=d.Histogram(edges=[80, 1000, 2000, 4983], counts=[400, 430, 10]),
            ),
            d.ColumnProfile(
                name="carrier",
                type="text",
                role="feature",
                nulls=0,
                distinct=2,
                top_values=[d.CountedValue(value="UA", rows=600), d.CountedValue(value="B6", rows=400)],
            ),
            d.ColumnProfile(
                name="departure",
                type="timestamp",
                role="time",
                nulls=0,
                distinct=990,
                minimum="2013-01-01T05:15:00",
                maximum="2013-12-31T23:59:00",
            ),
            d.ColumnProfile(name="key", type="text", role="identifier", nulls=0, distinct=1000),
        ],
    )


def validation() -> d.ValidationDocument:
    return d.ValidationDocument(
        table="flights",
        rows=1000,
        passed=True,
        checks=[
            d.Check(name="type", column="distance", passed=True, received="integer", expected="integer"),
            d.Check(
                name="nulls", column="seats", passed=False, severity="warning", received="16 %", expected="at most 10 %"
            ),
        ],
    )


def split() -> d.SplitDocument:
    return d.SplitDocument(
        method="time",
        column="departure",
        parts=[
            d.SplitPart(
                name="train", rows=750, first="2013-01-01T05:15:00", last="2013-09-30T23:59:00", target_rate=0.24
            ),
            d.SplitPart(
                name="test", rows=250, first="2013-11-01T05:00:00", last="2013-12-31T23:59:00", target_rate=0.25
            ),
        ],
    )


def training() -> d.TrainingDocument:
    return d.TrainingDocument(
        model="stepworks.training.tabular:build_model",
        device="cpu",
        parameters=84_321,
        epochs=[
            d.Epoch(
                epoch=epoch,
                train_loss=0.54 - 0.01 * epoch,
                validation_loss=0.5 + 0.01 * abs(epoch - 3),
                validation_auc=0.69 - 0.01 * abs(epoch - 3),
                learning_rate=0.002,
                seconds=3.0,
                samples_per_second=80_000,
            )
            for epoch in range(1, 6)
        ],
        best_epoch=3,
        stopped_by="early_stop",
        resumed_from_epoch=2,
        settings={"batch_size": "2048"},
    )


def evaluation() -> d.EvaluationDocument:
    points = [position / 20 for position in range(21)]
    return d.EvaluationDocument(
        rows=2500,
        positives=600,
        metrics=[
            d.Metric(name="auc", value=0.707, low=0.69, high=0.72),
            d.Metric(name="log_loss", value=0.507, low=0.5, high=0.51, higher_is_better=False),
        ],
        slices=[
            d.Slice(column="carrier", value="UA", rows=1500, target_rate=0.2, auc=interval(0.66, 0.02)),
            d.Slice(column="carrier", value="B6", rows=990, target_rate=0.3, auc=interval(0.74, 0.02)),
            d.Slice(column="carrier", value="HA", rows=6, target_rate=0.3, auc=interval(0.4, 0.3)),
            d.Slice(column="carrier", value="OO", rows=4, target_rate=0.0),
        ],
        calibration=[
            d.CalibrationBin(mean_predicted=share, observed_rate=share * 1.1, rows=250) for share in (0.1, 0.2, 0.5)
        ],
        expected_calibration_error=0.02,
        roc=d.Curve(x=points, y=[point**0.5 for point in points], thresholds=points[::-1]),
        precision_recall=d.Curve(x=points, y=[1 - 0.76 * point for point in points], thresholds=points[::-1]),
        confusion=d.Confusion(
            threshold=0.5, true_positives=150, false_positives=80, true_negatives=1820, false_negatives=450
        ),
    )


def comparison() -> d.ComparisonDocument:
    return d.ComparisonDocument(
        comparisons=[
            d.Comparison(
                reference=reference,
                metric="auc",
                candidate_value=0.707,
                reference_value=0.707 - difference,
                difference=interval(difference, 0.005),
                rows=2500,
            )
            for reference, difference in (("historical rate", 0.084), ("champion 3", 0.001))
        ]
    )


def preflight() -> PreflightDocument:
    checks = [
        PreflightCheck(
            topic="nodes",
            subject="train",
            state="missing",
            told="no node fits (1 nvidia.com/gpu)",
            what_to_do="Add one.",
        ),
        PreflightCheck(topic="room", subject="evaluate", state="waits", told="room for 0 of 1", what_to_do="Wait."),
        PreflightCheck(topic="quota", subject="team", state="could not check", told="runner may not list quotas"),
        PreflightCheck(topic="claim", subject="PersistentVolumeClaim data", state="fine", told="bound, ReadWriteMany"),
    ]
    return PreflightDocument(
        namespace="team", service_account="runner", can_run=False, summary="The pipeline cannot run.", checks=checks
    )


def verdict() -> d.VerdictDocument:
    return d.VerdictDocument(
        verdict="pass",
        reason="The whole interval lies above 0.",
        rules=[d.Rule(name="ahead of the baseline", outcome="pass", statement="+0.084 (+0.079 to +0.089)")],
    )


def serving_check() -> d.ServingCheckDocument:
    return d.ServingCheckDocument(
        server="kserve",
        rows=200,
        largest_difference=1.2e-7,
        tolerance=1e-5,
        passed=True,
        start_seconds=2.3,
        latency_p50_ms=4.1,
        latency_p95_ms=7.9,
    )


def registration() -> d.RegistrationDocument:
    return d.RegistrationDocument(name="late-flights", version=4, uri="file:///registry/4", digest="sha256:9f2c")


def deployment() -> d.DeploymentDocument:
    return d.DeploymentDocument(
        service="late-flights",
        url="http://127.0.0.1:41873",
        stable_version="late-flights-3",
        candidate_version="late-flights-4",
        model_directory="/registry/4/package",
    )


def shadow() -> ShadowDocument:
    return ShadowDocument(
        service="late-flights",
        stable_version="3",
        candidate_version="4",
        requests=1000,
        compared=998,
        failed_stable=1,
        failed_candidate=1,
        differing=70,
        tolerance=0.1,
        allowed_share=0.05,
        latency_p50_ms={"stable": 4.1, "candidate": 4.4},
        latency_p95_ms={"stable": 7.9, "candidate": 8.8},
        largest=[ShadowDifference(row="distance 2454, carrier AA", stable="0.21", candidate="0.64", difference=0.43)],
    )


def canary(*, rehearsal: bool = False) -> c.CanaryDocument:
    stable = c.CanaryArm(requests=760, errors=0, wrong_answers=0, probes=760, latency_p50_ms=4.1, latency_p95_ms=8.0)
    bad = 17 if rehearsal else 0
    return c.CanaryDocument(
        service="late-flights",
        stable_version="late-flights-3",
        candidate_version="late-flights-4",
        rehearsal=rehearsal,
        forecast=["At 5 % it takes 60 s until there are 40 requests of the candidate."],
        stages=[
            c.CanaryStage(
                percent=5,
                stable=stable,
                candidate=c.CanaryArm(requests=40, errors=bad, wrong_answers=0, probes=40),
                decision="roll_back" if rehearsal else "promote",
                reason="17 of 40 requests failed" if rehearsal else "no errors in 40 requests",
                seconds=1.3,
                windows=[canary_window(number, bad) for number in range(3)],
            )
        ],
        outcome="rolled_back" if rehearsal else "promoted",
        reason="The stable version takes all traffic again." if rehearsal else "The candidate takes all traffic.",
    )


def canary_window(number: int, bad: int) -> c.CanaryWindow:
    """A window of ten to fifteen requests of the candidate, with evidence that grows tenfold if some of them failed."""
    requests, failed = 10 + 5 * (number > 1), bad // 3
    evidence = [
        c.CanaryEvidence(
            metric=metric,
            candidate=requests,
            candidate_bad=failed if metric == "errors" else 0,
            stable=250,
            stable_bad=1 if metric == "latency" else 0,
            evidence=10.0 ** (number + 1) if bad and metric == "errors" else 0.8,
            needed=300.0,
        )
        for metric in ("errors", "latency", "answers")
    ]
    return c.CanaryWindow(seconds=0.4, evidence=evidence, note="warm-up" if number == 0 else "")


WAITS_FOR = {
    "ingest-table": [],
    "validate-table": ["ingest-table"],
    "profile-table": ["ingest-table", "validate-table"],
    "split-table": ["ingest-table", "validate-table"],
    "transform-table": ["split-table"],
    "train": ["transform-table"],
    "evaluate": ["train", "transform-table", "split-table"],
    "compare": ["evaluate", "split-table"],
    "gate": ["evaluate", "compare"],
    "package-model": ["train", "split-table", "gate"],
    "check-serving": ["package-model"],
    "register-model": ["package-model", "gate", "check-serving"],
    "deploy": ["package-model", "gate", "register-model"],
    "roll-out-canary": ["deploy", "package-model", "register-model"],
}


@pytest.fixture(scope="session")
def documents() -> dict[str, list[d.Document]]:
    return {
        "preflight": [preflight()],
        "rehearsal": [canary(rehearsal=True)],
        "profile-table": [profile()],
        "validate-table": [validation()],
        "split-table": [split()],
        "train": [training()],
        "evaluate": [evaluation()],
        "compare": [comparison()],
        "gate": [verdict()],
        "check-serving": [serving_check()],
        "register-model": [registration()],
        "deploy": [deployment()],
        "compare-answers": [shadow()],
        "roll-out-canary": [canary()],
    }


@pytest.fixture(scope="session")
def run() -> r.RunRecord:
    return r.RunRecord(
        run_id="tabular-train-and-deploy-20251124-152133-4be1",
        pipeline="tabular_train_and_deploy",
        version="0.1.0",
        state="succeeded",
        started="2025-11-24T15:21:33+00:00",
        seconds=87.5,
        steps=[
            r.StepRecord(
                name=name,
                component=name,
                state="succeeded",
                seconds=1.5 * (position + 1),
                attempts=1,
                depends_on=waits_for,
                log=f"logs/{name}.log",
            )
            for position, (name, waits_for) in enumerate(WAITS_FOR.items())
        ],
        parameters={"epochs": "6", "contract": "name: flights\ntables: {}\n"},
        data_digest="48cae6d2",
        code_revision="84dad5e",
        package_versions={"python": "3.11.7", "kfp": "2.17.0"},
    )


@pytest.fixture
def failed_run(run: r.RunRecord) -> r.RunRecord:
    """The run, ended by its gate."""
    steps, ended = [], False
    for step in run.steps:
        change: dict[str, object] = {"state": "skipped", "seconds": None, "attempts": 0, "log": None} if ended else {}
        if step.name == "gate":
            ended, change = True, {"state": "failed", "error": "The gate does not let the model through", "attempts": 2}
        steps.append(step.model_copy(update=change))
    return run.model_copy(update={"state": "failed", "steps": steps})


@pytest.fixture(scope="session")
def report(run: r.RunRecord, documents: dict[str, list[d.Document]]) -> str:
    return run_report(run, documents)
