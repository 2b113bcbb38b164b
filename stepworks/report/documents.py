"""The documents that steps leave behind, and that the report is made from.

A step writes what it found as one JSON document: facts only, no markup. The run report and the pages in the
Kubeflow UI are drawn from these documents, so the areas that do the work and the report that shows it share
nothing else. A document is written whole or not at all, and names its own kind.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from stepworks.errors import RunError
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.document import Fragment, Interval, StoredDocument, first_fault
from stepworks.report.preflight_document import PreflightDocument
from stepworks.report.shadow_document import ShadowDocument
from stepworks.report.traffic_splitter import TrafficSplitter


class Histogram(Fragment):
    """Counts between `edges`: one more edge than counts."""

    edges: list[float]
    counts: list[int]


class CountedValue(Fragment):
    """A value of a column and the number of rows that have it."""

    value: str
    rows: int


class ColumnProfile(Fragment):
    """What one column holds. Numbers have quantiles and a histogram, texts their most frequent values."""

    name: str
    type: str
    role: str
    nulls: int
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    quantiles: dict[str, float] = Field(default_factory=dict)
    histogram: Histogram | None = None
    top_values: list[CountedValue] = Field(default_factory=list)


class PeriodRate(Fragment):
    """How often the target was true in one period, for example a month."""

    period: str
    rows: int
    rate: float


class ProfileDocument(StoredDocument):
    """What a table holds (`data/profile_table`)."""

    kind: Literal["profile"] = "profile"
    table: str
    rows: int
    dropped_rows: dict[str, int] = Field(default_factory=dict)
    target: str
    target_rate: float
    periods: list[PeriodRate] = Field(default_factory=list)
    columns: list[ColumnProfile]


class Check(Fragment):
    """One rule of the contract and what the data said to it."""

    name: str
    column: str | None = None
    passed: bool
    severity: Literal["error", "warning"] = "error"
    received: str
    expected: str


class ValidationDocument(StoredDocument):
    """Whether a table keeps its contract (`data/validate_table`)."""

    kind: Literal["validation"] = "validation"
    table: str
    rows: int
    passed: bool
    checks: list[Check]


class SplitPart(Fragment):
    """One part of a split; `first` and `last` are the bounds of the column that was split by."""

    name: str
    rows: int
    first: str
    last: str
    target_rate: float


class SplitDocument(StoredDocument):
    """How a table was split (`data/split_table`)."""

    kind: Literal["split"] = "split"
    method: str
    column: str
    parts: list[SplitPart]


class Epoch(Fragment):
    """One pass over the training data. `seconds` is wall time, validation included.

    What a validation did not compute is missing; `figures` are the model's own, by their names.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None = None
    validation_auc: float | None = None
    figures: dict[str, float] = Field(default_factory=dict)
    learning_rate: float
    seconds: float
    samples_per_second: float

    @property
    def metrics(self) -> dict[str, float]:
        """What its validation computed, by the names that `monitor` knows: `validation_loss` and so on."""
        own = {"validation_auc": self.validation_auc, "validation_loss": self.validation_loss}
        return {**{name: value for name, value in own.items() if value is not None}, **self.figures}


class TrainingDocument(StoredDocument):
    """How training went (`training/train`).

    Of a loop that is not ours there is less to say: `device`, `parameters` (how many) and `stopped_by` are missing, and
    there are no epochs, for which `best_epoch` is 0.
    """

    kind: Literal["training"] = "training"
    model: str
    device: str | None = None
    parameters: int | None = None
    epochs: list[Epoch] = Field(default_factory=list)
    best_epoch: int = 0
    stopped_by: Literal["early_stop", "epochs"] | None = None
    resumed_from_epoch: int | None = None
    settings: dict[str, str] = Field(default_factory=dict)

    @property
    def best(self) -> Epoch | None:
        """The best epoch; None where there is none of that number."""
        return next((epoch for epoch in self.epochs if epoch.epoch == self.best_epoch), None)


class Trial(Fragment):
    """One trial of a search: what it was given, and the figures that it came to; none where it did not report any."""

    name: str
    state: Literal["succeeded", "stopped_early", "failed", "killed", "without_metrics", "running"]
    parameters: dict[str, bool | int | float | str]
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it can be the best: it ended well, or was ended since others were better."""
        return self.state in {"succeeded", "stopped_early"}


class TuningDocument(StoredDocument):
    """What a search found (`tuning/tune`). The trials are in the order in which they began."""

    kind: Literal["tuning"] = "tuning"
    searched_by: str
    algorithm: str
    metric: str
    goal: Literal["minimize", "maximize"]
    trials: list[Trial]
    best: str | None
    ended_by: str

    @property
    def best_trial(self) -> Trial | None:
        """The best trial; missing where none reported the metric."""
        return next((trial for trial in self.trials if trial.name == self.best), None)


class Metric(Interval):
    """A named metric with its interval."""

    name: str
    higher_is_better: bool = True


class Slice(Fragment):
    """The metric on the rows where `column` has `value`; `auc` is missing where one class is absent."""

    column: str
    value: str
    rows: int
    target_rate: float
    auc: Interval | None = None


class CalibrationBin(Fragment):
    """Rows of similar prediction: what was predicted, and how often it came true."""

    mean_predicted: float
    observed_rate: float
    rows: int


class Curve(Fragment):
    """Points of a curve; `x` and `y` have the same length."""

    x: list[float]
    y: list[float]
    thresholds: list[float] = Field(default_factory=list)


class Confusion(Fragment):
    """Counts at one decision threshold."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


class EvaluationDocument(StoredDocument):
    """How good a model is on rows it has not seen (`evaluation/evaluate`)."""

    kind: Literal["evaluation"] = "evaluation"
    rows: int
    positives: int
    metrics: list[Metric]
    slices: list[Slice]
    calibration: list[CalibrationBin]
    expected_calibration_error: float
    roc: Curve
    precision_recall: Curve
    confusion: Confusion


class Comparison(Fragment):
    """The candidate against one reference on the same rows; `difference` is candidate minus reference."""

    reference: str
    metric: str
    candidate_value: float
    reference_value: float
    difference: Interval
    rows: int


class ComparisonDocument(StoredDocument):
    """The candidate against its baseline and the champion (`evaluation/compare`)."""

    kind: Literal["comparison"] = "comparison"
    comparisons: list[Comparison]


class Rule(Fragment):
    """One rule of a gate and its outcome. `statement` is the rule in words with its numbers."""

    name: str
    outcome: Literal["pass", "fail", "insufficient_data", "not_applicable"]
    statement: str


class VerdictDocument(StoredDocument):
    """What the gate said (`evaluation/gate`), and why a model that did not pass goes on, if somebody says so."""

    kind: Literal["verdict"] = "verdict"
    verdict: Literal["pass", "fail", "insufficient_data"]
    reason: str
    rules: list[Rule]
    override: str = ""


class ServingCheckDocument(StoredDocument):
    """A real server against offline answers (`serving/check_serving`). Latencies are in milliseconds."""

    kind: Literal["serving_check"] = "serving_check"
    server: str
    rows: int
    largest_difference: float
    tolerance: float
    passed: bool
    start_seconds: float
    latency_p50_ms: float
    latency_p95_ms: float


class RegistrationDocument(StoredDocument):
    """A registered model version (`registry/register_model`)."""

    kind: Literal["registration"] = "registration"
    name: str
    version: int
    uri: str
    digest: str
    already_registered: bool = False


class DeploymentDocument(StoredDocument):
    """A deployed service (`serving/deploy`).

    `stable_version` is missing when nothing served before; `candidate_version` waits for its roll-out.
    `model_directory` is the candidate's package, for asking it again later. `splitter` and
    `plain`, which says that its versions are Deployments and not InferenceServices, are for a cluster only.
    """

    kind: Literal["deployment"] = "deployment"
    service: str
    url: str
    stable_version: str | None
    candidate_version: str
    model_directory: str
    splitter: TrafficSplitter = Field(default_factory=TrafficSplitter)
    plain: bool = False


Document = Annotated[
    PreflightDocument
    | ProfileDocument
    | ValidationDocument
    | SplitDocument
    | TrainingDocument
    | TuningDocument
    | EvaluationDocument
    | ComparisonDocument
    | VerdictDocument
    | ServingCheckDocument
    | RegistrationDocument
    | DeploymentDocument
    | ShadowDocument
    | CanaryDocument,
    Field(discriminator="kind"),
]


_NO_DOCUMENT = {"json_invalid", "dict_type", "union_tag_not_found", "union_tag_invalid"}
"""How validation tells that a file is not JSON, no object, or of no kind of ours."""


@functools.cache
def _any_document() -> TypeAdapter[Document]:
    return TypeAdapter(Document)


def find_document(path: str | Path) -> Document | None:
    """Read a document of whatever kind it names; None when the file is something else.

    Raises:
        RunError: The file names a kind of ours and does not hold it.
    """
    content = Path(path).read_bytes()
    try:
        return _any_document().validate_json(content)
    except ValidationError as error:
        if {fault["type"] for fault in error.errors()} & _NO_DOCUMENT:
            return None
        raise RunError(
            f"{path} is not a whole document", received=first_fault(error), what_to_do="Run its step again."
        ) from error
