"""What lint says of IR as kfp writes it, where its shape is not what one would write by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl, kubernetes

from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.lint.check import lint_ir
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rule import Limits
from tests.unit.kubeflow.ir.compiled_shapes import make, number

Lint = Callable[..., list[Finding]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """Compile a pipeline, and give what some rules find in it."""

    def apply(
        function: Callable[..., None], *rules: str, limits: Limits | None = None, **settings: Any
    ) -> list[Finding]:
        compiler.Compiler().compile(dsl.pipeline(name="p", **settings)(function), str(tmp_path / "ir.yaml"))
        return [each for each in lint_ir(read_ir(tmp_path / "ir.yaml"), limits) if each.rule.startswith(rules)]

    return apply


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def anything() -> list:  # type: ignore[type-arg]  # kfp does not know the type of the items
    return [1, 2]


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def records() -> list[dict]:  # type: ignore[type-arg]
    return [{"epochs": 1}]


def made_claim(mode: str = "ReadWriteOnce") -> Any:
    return kubernetes.CreatePVC(pvc_name_suffix="-s", access_modes=[mode], size="1Gi").outputs["name"]


def with_claim(claim: Any) -> Any:
    return kubernetes.mount_pvc(number(), pvc_name=claim, mount_path="/mnt/x")


# -------------------------------------------------------------------------------------------------- values


def test_an_image_may_come_from_a_parameter(lint: Lint) -> None:
    def image(name: str = "example.com/other:1") -> None:
        number().set_container_image(name)

    assert lint(image, "S") == []


def test_items_that_only_the_run_knows_may_be_given_to_any_input(lint: Lint) -> None:
    def loops(items: list) -> None:  # type: ignore[type-arg]
        with dsl.ParallelFor(items, parallelism=2) as item:
            number(of=item)
            with dsl.If(item == "a"):
                number(of=item)
            with dsl.ParallelFor([1, 2], parallelism=2):
                number(of=item)
        with dsl.ParallelFor(anything().output, parallelism=2) as item:
            number(of=item)
        with dsl.ParallelFor(records().output, parallelism=2) as item, dsl.If(item.kind == "a"):
            number(of=item.epochs)

    assert lint(loops, "S") == []


# -------------------------------------------------------------------------------------------------- claims


def test_a_claim_is_followed_into_a_branch_beside_its_other_task(lint: Lint) -> None:
    def beside(flag: str = "a") -> None:
        claim = made_claim()
        with_claim(claim)
        with dsl.If(flag == "a"):
            with_claim(claim)

    (finding,) = lint(beside, "V01")
    assert "(condition-1/number-2 and number), and its access mode is ReadWriteOnce" in finding.message
    assert finding.severity is Severity.ERROR


def test_a_claim_that_a_parameter_names_is_known_by_its_default(lint: Lint) -> None:
    def beside(claim: str = "team", flag: str = "a") -> None:
        kubernetes.mount_pvc(number(), pvc_name="team", mount_path="/mnt/x")
        with dsl.If(flag == "a"):
            with_claim(claim)

    (finding,) = lint(beside, "V01")
    assert "The claim team is mounted" in finding.message
    assert lint(beside, "V01", limits=Limits(claims={"team": "ReadWriteMany"})) == []


def test_a_claim_that_is_made_for_many_may_be_shared(lint: Lint) -> None:
    def shared() -> None:
        claim = made_claim("ReadWriteMany")
        with_claim(claim)
        with_claim(claim)

    assert lint(shared, "V01") == []


def test_each_iteration_may_have_a_claim_of_its_own(lint: Lint) -> None:
    def own() -> None:
        with dsl.ParallelFor(["a", "b"]) as name:
            with_claim(name)
            claim = made_claim()
            with dsl.If(name == "a"):
                with_claim(claim)

    assert lint(own, "V01") == []

    def own_and_shared() -> None:
        with dsl.ParallelFor(["a", "b"]) as name:
            claim = made_claim()
            with dsl.ParallelFor(["c", "d"]):
                with_claim(claim)
            with_claim(name)
            with_claim(name)

    assert len(lint(own_and_shared, "V01")) == 2


# -------------------------------------------------------------------------------------------------- workspace


def workspace(*modes: str) -> dsl.PipelineConfig:
    patch = {"accessModes": list(modes)} if modes else {"storageClassName": "fast"}
    kubernetes_settings = dsl.KubernetesWorkspaceConfig(pvcSpecPatch=patch)
    return dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi", kubernetes=kubernetes_settings))


def in_a_loop(limit: int | None) -> Callable[..., None]:
    def loop() -> None:
        with dsl.ParallelFor(["a", "b"], parallelism=limit):
            make(text=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/rows")

    return loop


@pytest.mark.parametrize(
    ("modes", "severity"),
    [
        (["ReadWriteOnce"], Severity.ERROR),
        (["ReadWriteOncePod"], Severity.ERROR),
        ([], Severity.WARNING),
        (["ReadWriteOnce", "ReadWriteMany"], None),
    ],
)
def test_a_workspace_in_a_loop_must_be_for_many(modes: list[str], severity: Severity | None, lint: Lint) -> None:
    found = lint(in_a_loop(None), "V01", pipeline_config=workspace(*modes))
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(each.message.startswith("The workspace is mounted by tasks that may run at once") for each in found)
    assert all(each.line > 1 for each in found)
    assert lint(in_a_loop(1), "V01", pipeline_config=workspace(*modes)) == []


def test_a_path_of_the_workspace_is_followed_through_pipelines(lint: Lint) -> None:
    @dsl.pipeline(name="inner")
    def inner(folder: str, flag: str = "a") -> None:
        with dsl.If(flag == "a"):
            make(text=folder)

    def outer(other: str = "/kfp-workspace/b") -> None:
        inner(folder=dsl.WORKSPACE_PATH_PLACEHOLDER)
        make(text=other)
        make(text="elsewhere")

    (finding,) = lint(outer, "V01", pipeline_config=workspace("ReadWriteOnce"))
    assert "(inner/condition-1/make and make)" in finding.message
