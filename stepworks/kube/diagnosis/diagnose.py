"""From an object to the error that says why it failed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stepworks.errors import ObjectFailedError, WaitError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.diagnosis.causes import judge
from stepworks.kube.diagnosis.collect import PATIENCE_SECONDS, Collector
from stepworks.kube.diagnosis.facts import Facts
from stepworks.kube.diagnosis.finding import Finding
from stepworks.kube.diagnosis.page import event_lines, render
from stepworks.kube.kinds.manifests import Manifest


@dataclass(frozen=True)
class Diagnosis:
    """Why an object failed or does not come about.

    Attributes:
        facts: What was read.
        finding: What it means.
    """

    facts: Facts
    finding: Finding

    @property
    def problem(self) -> str:
        """What happened, in one sentence."""
        return f"{self.facts.lead}: {self.finding.problem}"

    def __str__(self) -> str:
        return render(self.facts, self.finding, self.problem)

    def error(self) -> WorkloadFailedError:
        """The error that says it."""
        facts, finding = self.facts, self.finding
        unscheduled = finding.pod if finding.pod and finding.pod.waits_because else None
        return WorkloadFailedError(
            self.problem,
            page=str(self),
            cause=finding.cause,
            permanent=finding.permanent,
            kind=facts.reference.kind,
            name=facts.reference.name,
            conditions=tuple(line for each in facts.chain for line in each.conditions),
            pod=finding.pod.name if finding.pod else "",
            container_exit_code=finding.container.exit_code if finding.container else None,
            scheduler_message=unscheduled.scheduler if unscheduled else "",
            events=event_lines(facts),
            log_tail=facts.log,
            received=facts.ended,
            what_to_do=finding.what_to_do,
        )


def diagnose(
    cluster: Cluster,
    reference: Reference,
    error: WaitError | None = None,
    *,
    manifest: Manifest | None = None,
    lead: str = "",
    patience: float = PATIENCE_SECONDS,
) -> Diagnosis:
    """Find out why an object failed or does not come about.

    What may not be read is no error: the page says so, with the rule of a Role that grants it. An API server that
    does not answer is not waited for longer than the patience, apart from the requests that are under way.

    Args:
        cluster: Where.
        reference: The object.
        error: How the wait for it ended, if it did.
        manifest: The object as it was last seen; by default that of the error, or else it is read.
        lead: What happened, in a few words; by default the error's own.
        patience: How long to try again, in seconds, while the API server fails.
    """
    collector = Collector(cluster, reference, patience)
    facts = collector.collect(manifest or (error.manifest if error else None))
    facts = replace(
        facts,
        lead=lead or (error.problem if error else f"The {reference}"),
        ended=error.received if error else "",
        failed=facts.failed or isinstance(error, ObjectFailedError),
    )
    facts = collector.add_log(facts)
    return Diagnosis(facts, judge(facts))
