"""Send recorded requests to the deployed version and to the one that serves, and compare their answers."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("serving")
def compare_answers(
    deployment: Input[Artifact],
    requests: Input[Dataset],
    registry: str,
    comparison: Output[Artifact],
    page: Output[HTML],
    rows: int = 1000,
    tolerance: float = 0.1,
    allowed_share: float = 0.05,
) -> None:
    """Send recorded requests to a deployed version without traffic, and to the one that serves; compare the answers.

    Nothing that clients see changes. The step fails where too many answers differ, or the deployed version fails where
    the other one answers.

    Args:
        deployment: What deploy started.
        requests: Rows as clients send them, with the features by name.
        registry: The registry's folder; below a mounted claim in a cluster.
        comparison: What was found.
        page: The same as a page. Both are written before the step fails, too.
        rows: How many rows are sent at most, spread over the table.
        tolerance: From which difference on an answer counts as another one: of numbers the largest difference, relative
            to those above 1; of a text, the share of it that differs.
        allowed_share: Which share of the answers may differ.
    """
    from stepworks.serving.step import compare_versions

    settings = {"rows": rows, "tolerance": tolerance, "allowed_share": allowed_share}
    compare_versions(
        deployment.path, requests.path, registry, settings=settings, comparison=comparison.path, page=page.path
    )
