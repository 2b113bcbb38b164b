"""Who may enter: nothing without a passing verdict, or somebody who overrides it and says why."""

from __future__ import annotations

from stepworks.errors import RegistryError, RunError
from stepworks.report.documents import VerdictDocument


def require_pass(verdict: VerdictDocument, action: str, error: type[RunError] = RegistryError) -> None:
    """Refuse a model whose verdict is anything but a pass, and was not overridden.

    Args:
        verdict: What the gate said.
        action: What is refused, for example `register the model`.
        error: The class of the error to raise.

    Raises:
        RunError: Of the class `error`: the verdict is not a pass.
    """
    if verdict.verdict != "pass" and not verdict.override:
        raise error(
            f"The gate does not let this run {action}",
            received=f"{verdict.verdict}: {verdict.reason}",
            expected="the verdict pass",
            what_to_do="Read the gate's rules in the report; improve the model, or bring more data, and run again. To "
            "ship it all the same, give the gate the parameter override: why, and who says so.",
        )
