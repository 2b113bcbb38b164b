"""The serving steps one after the other under a real supervisor, as a run calls them, and twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from kfp.dsl import HTML, Artifact, Dataset, Model

from stepworks.components.registry.register_model.component import register_model
from stepworks.components.serving.check_serving.component import check_serving
from stepworks.components.serving.compare_answers.component import compare_answers
from stepworks.components.serving.deploy.component import deploy
from stepworks.components.serving.deploy_model_server.component import deploy_model_server
from stepworks.components.serving.package_model.component import package_model
from stepworks.components.serving.roll_out_canary.component import roll_out_canary
from stepworks.components.serving.serve_version.component import serve_version
from stepworks.errors import ConfigurationError, NotFoundError, RegistryError, ResourceError, ServingError
from stepworks.registry.registry import Metadata, Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import (
    DeploymentDocument,
    RegistrationDocument,
    ServingCheckDocument,
    VerdictDocument,
)
from stepworks.report.shadow_document import ShadowDocument
from stepworks.serving import deploy as library
from stepworks.serving.client import ask
from stepworks.serving.judging.settings import JudgeSettings, MetricRule
from stepworks.serving.manifest import Samples, read_package, write_manifest
from stepworks.serving.package import build_package
from stepworks.serving.rehearsal import rehearse_roll_back
from stepworks.serving.rollout.deployment import roll_out_deployment
from stepworks.serving.rollout.policy import LAPTOP
from stepworks.serving.split_admin import SplitSettings, change_split, read_split
from stepworks.supervisor.supervisor import Supervisor

REGISTRY = "/mnt/registry"
OLD = Metadata(run="old", created_by="test")
BLIND = LAPTOP.model_copy(
    update={"judge": JudgeSettings(errors=MetricRule(margin=0.1), latency=None, answers=None, minimum_requests=50)}
)
"""The policy of a judge that does not look at the answers."""


class Run:
    """The artifacts of one run, in a folder."""

    def __init__(self, folder: Path, model: Path, raw_table: Path, package: Path | None = None) -> None:
        folder.mkdir()
        self.folder = folder
        self.model = Model(name="model", uri=str(model))
        self.test = Dataset(name="test", uri=str(raw_table))
        self.package = Model(name="package", uri=str(package or folder / "package"))
        for name in ("check", "verdict", "registration", "deployment", "canary"):
            setattr(self, name, Artifact(name=name, uri=str(folder / name)))
        self.page = HTML(name="page", uri=str(folder / "page"))
        VerdictDocument(verdict="pass", reason="better than the baseline", rules=[]).write(self.verdict.path)

    def register(self) -> RegistrationDocument:
        register_model.python_func(self.package, self.verdict, "flights", REGISTRY, self.folder.name, self.registration)
        return RegistrationDocument.read(self.registration.path)

    def deploy(self) -> DeploymentDocument:
        deploy.python_func(self.package, self.verdict, self.registration, REGISTRY, self.deployment)
        return DeploymentDocument.read(self.deployment.path)

    def compare(self, **settings: float) -> ShadowDocument:
        found = Artifact(name="comparison", uri=str(self.folder / "comparison"))
        try:
            compare_answers.python_func(self.deployment, self.test, REGISTRY, found, self.page, **settings)
        finally:
            assert "Shadow comparison" in Path(self.page.path).read_text()
        return ShadowDocument.read(found.path)

    def roll_out(self) -> None:
        roll_out_canary.python_func(self.deployment, self.package, self.registration, REGISTRY, self.canary, self.page)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", {REGISTRY: tmp_path / "registry"}) as supervisor:
        for name, value in supervisor.environment().items():
            monkeypatch.setenv(name, value)
        yield supervisor


@pytest.mark.slow
def test_the_steps_of_a_first_and_a_second_run(
    supervisor: Supervisor,
    model_directory: Path,
    champion_package: Path,
    raw_table: Path,
    tmp_path: Path,
    no_new_process: Callable[[], list[str]],
) -> None:
    registry = Registry(tmp_path / "registry")

    first = Run(tmp_path / "run-1", model_directory, raw_table, champion_package)
    assert first.register().version == 1
    assert first.deploy().stable_version is None
    assert first.compare().reason == "No other version serves: there is nothing to compare with."
    first.roll_out()
    course = CanaryDocument.read(first.canary.path)
    assert (course.outcome, [stage.percent for stage in course.stages]) == ("promoted", [100])
    champion = registry.champion("flights")
    assert champion is not None
    assert champion.version == 1

    second = Run(tmp_path / "run-2", model_directory, raw_table)
    package_model.python_func(second.model, second.test, second.package)
    assert second.package.metadata["digest"] == read_package(Path(second.package.path)).digest
    registration = second.register()
    assert (registration.version, registration.already_registered) == (2, False)
    assert second.register().already_registered
    deployment = second.deploy()
    assert (deployment.stable_version, deployment.candidate_version) == ("1", "2")
    assert read_split(deployment.url).settings.percent == 0
    assert second.deploy() == deployment, "a retried step adopts what it made"
    with pytest.raises(ServingError, match=r"(?s)Version 2 of flights answers otherwise than version 1, which serves"):
        second.compare(rows=50)
    alike = second.compare(rows=50, tolerance=1.0)
    assert (alike.compared, alike.differing, alike.failed_candidate) == (50, 0, 0)
    assert 0 < alike.largest[0].difference < 1
    second.roll_out()
    course = CanaryDocument.read(second.canary.path)
    assert [stage.percent for stage in course.stages] == [10, 50, 100]
    assert all(stage.candidate.wrong_answers == stage.candidate.errors == 0 for stage in course.stages)
    assert all(stage.stable.wrong_answers == stage.stable.errors == 0 for stage in course.stages if stage.stable)
    assert "<html" in Path(second.page.path).read_text()
    champion = registry.champion("flights")
    assert champion is not None
    assert champion.version == 2
    assert sorted(supervisor.processes()) == ["flights.split", "flights.v2"], "the old version's server has ended"
    samples = Samples.read(Path(second.package.path))
    np.testing.assert_allclose(ask(deployment.url, "flights", samples.rows), samples.probabilities, atol=1e-6)
    assert second.deploy().url == deployment.url, "the step deploy may be retried late, too"
    np.testing.assert_allclose(ask(deployment.url, "flights", samples.rows), samples.probabilities, atol=1e-6)

    rehearsal = rehearse_roll_back(supervisor, deployment)
    assert (rehearsal.outcome, rehearsal.rehearsal) == ("rolled_back", True)
    assert rehearsal.stages[-1].candidate.wrong_answers == rehearsal.stages[-1].candidate.probes > 0
    assert sorted(supervisor.processes()) == ["flights.split", "flights.v2"]
    np.testing.assert_allclose(ask(deployment.url, "flights", samples.rows), samples.probabilities, atol=1e-6)

    with pytest.raises(ServingError, match="broken version of flights was not rolled back"):
        rehearse_roll_back(supervisor, deployment, policy=BLIND)
    assert sorted(supervisor.processes()) == ["flights.split", "flights.v2"]
    np.testing.assert_allclose(ask(deployment.url, "flights", samples.rows), samples.probabilities, atol=1e-6)

    change_split(deployment.url, SplitSettings())
    with pytest.raises(ServingError, match="no roll-back can be rehearsed"):
        rehearse_roll_back(supervisor, deployment)
    supervisor.close()
    assert no_new_process() == []


STOPPED_BEFORE_THE_ALIAS = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from stepworks.registry.registry import Registry
from stepworks.report.documents import DeploymentDocument, RegistrationDocument
from stepworks.serving.rollout.deployment import roll_out_deployment
from stepworks.supervisor.client import SupervisorClient

def wait(*arguments):
    print("promoted", flush=True)
    time.sleep(600)

Registry.make_champion = wait
deployment, package, registration = sys.argv[1:]
manager = SupervisorClient.from_environment()
roll_out_deployment(
    DeploymentDocument.read(deployment), Path(package), RegistrationDocument.read(registration), {registry!r}, manager
)
"""


@pytest.mark.slow
def test_a_roll_out_that_was_killed_or_failed_is_finished_by_a_retry(
    supervisor: Supervisor,
    model_directory: Path,
    package: Path,
    champion_package: Path,
    raw_table: Path,
    tmp_path: Path,
    no_new_process: Callable[[], list[str]],
) -> None:
    registry = Registry(tmp_path / "registry")
    champion = read_package(champion_package)
    registry.register("flights", champion_package, champion.digest, Metadata(run="old", created_by="test"))
    registry.set_alias("flights", "champion", 1)
    run = Run(tmp_path / "run", model_directory, raw_table, package)
    run.register()
    url = run.deploy().url
    samples = Samples.read(package)

    def serving() -> tuple[int, list[str]]:
        """The champion by the registry, and what runs; the new version has to answer in any case."""
        np.testing.assert_allclose(ask(url, "flights", samples.rows), samples.probabilities, atol=1e-6)
        champion = registry.champion("flights")
        assert champion is not None
        return champion.version, sorted(supervisor.processes())

    program = STOPPED_BEFORE_THE_ALIAS.format(path=sys.path, registry=REGISTRY)
    command = [sys.executable, "-c", program, run.deployment.path, run.package.path, run.registration.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "promoted\n"
        killed.kill()
    assert serving() == (1, ["flights.split", "flights.v1", "flights.v2"])

    lock = tmp_path / "registry" / "flights" / ".aliases.lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(ResourceError, match="Cannot write to the registry"):
        run.roll_out()
    assert serving() == (1, ["flights.split", "flights.v1", "flights.v2"])
    lock.rmdir()

    for _ in range(2):
        run.roll_out()
        course = CanaryDocument.read(run.canary.path)
        assert (course.outcome, course.stages) == ("promoted", [])
        assert "An earlier attempt of this step promoted the version" in course.reason
        assert serving() == (2, ["flights.split", "flights.v2"])

    other = RegistrationDocument.read(run.registration.path).model_copy(update={"version": 1})
    with pytest.raises(ServingError, match=r"(?s)not of the version that was deployed.*version 1 of.*version 2 of"):
        roll_out_deployment(DeploymentDocument.read(run.deployment.path), package, other, REGISTRY, supervisor)
    supervisor.close()
    assert no_new_process() == []


@pytest.mark.slow
def test_what_was_rolled_back_needs_a_new_deployment(
    supervisor: Supervisor, model_directory: Path, package: Path, raw_table: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", model_directory, raw_table, package)
    run.register()
    deployment = run.deploy()
    change_split(deployment.url, SplitSettings())  # A roll-back that was killed before it ended the server.
    with pytest.raises(ServingError, match=r"(?s)no candidate to roll out.*rolled back before"):
        run.roll_out()
    assert sorted(supervisor.processes()) == ["flights.split"]
    assert Registry(REGISTRY).champion("flights") is None


def test_a_check_passes_on_the_real_server(
    package: Path, tmp_path: Path, no_new_process: Callable[[], list[str]]
) -> None:
    check = Artifact(name="check", uri=str(tmp_path / "check"))
    check_serving.python_func(Model(name="package", uri=str(package)), check)
    document = ServingCheckDocument.read(check.path)
    assert document.passed
    assert (document.rows, document.tolerance) == (100, 1e-5)
    assert document.largest_difference < 1e-6
    assert 0 < document.latency_p50_ms <= document.latency_p95_ms
    assert no_new_process() == []


@pytest.mark.parametrize("verdict", ["fail", "insufficient_data"])
def test_without_a_passing_verdict_nothing_is_registered_or_deployed(
    supervisor: Supervisor, model_directory: Path, package: Path, raw_table: Path, tmp_path: Path, verdict: str
) -> None:
    run = Run(tmp_path / "run", model_directory, raw_table, package)
    run.register()
    VerdictDocument(verdict=verdict, reason="no better", rules=[]).write(run.verdict.path)
    with pytest.raises(ServingError, match=r"(?s)does not let this run deploy the model.*no better"):
        run.deploy()
    with pytest.raises(RegistryError, match=r"(?s)does not let this run register the model.*no better"):
        run.register()
    assert supervisor.processes() == {}


def test_a_model_with_other_features_is_not_deployed_in_place(
    supervisor: Supervisor,
    make_model: Callable[..., Path],
    parameters: SimpleNamespace,
    model_directory: Path,
    package: Path,
    raw_table: Path,
    tmp_path: Path,
) -> None:
    fewer = parameters.model_copy(update={"numeric": parameters.numeric[:1]})
    build_package(make_model(tmp_path / "fewer", seed=1, parameters=fewer), raw_table, tmp_path / "package")
    registry = Registry(tmp_path / "registry")
    registry.register("flights", package, read_package(package).digest, Metadata(run="old", created_by="test"))
    registry.set_alias("flights", "champion", 1)
    run = Run(tmp_path / "run", model_directory, raw_table, tmp_path / "package")
    run.register()
    with pytest.raises(ServingError, match=r"(?s)takes other features.*wind_speed"):
        run.deploy()
    run.package = Model(name="package", uri=str(package))
    with pytest.raises(ServingError, match="is not the package of this run"):
        run.deploy()
    assert supervisor.processes() == {}


@pytest.mark.slow
def test_a_version_is_served_without_a_roll_out(
    supervisor: Supervisor, champion_package: Path, package: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    for made, of_run in ((champion_package, OLD), (package, Metadata(run="new", created_by="test"))):
        registry.register("flights", made, read_package(made).digest, of_run)
    deployment = Artifact(name="deployment", uri=str(tmp_path / "deployment"))

    for version, made in ((2, package), (1, champion_package), (1, champion_package)):
        serve_version.python_func("flights", version, REGISTRY, deployment)
        url = DeploymentDocument.read(deployment.path).url
        samples = Samples.read(made)
        np.testing.assert_allclose(ask(url, "flights", samples.rows), samples.probabilities, atol=1e-6)
        assert sorted(supervisor.processes()) == ["flights.split", f"flights.v{version}"]
    champion, previous = registry.champion("flights"), registry.previous("flights")
    assert champion is not None
    assert previous is not None
    assert (champion.version, previous.version) == (1, 2)

    (registry.get("flights", 2).directory / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ServingError):
        serve_version.python_func("flights", 2, REGISTRY, deployment)
    assert sorted(supervisor.processes()) == ["flights.split", "flights.v1"]
    with pytest.raises(NotFoundError, match="no version 3"):
        serve_version.python_func("flights", 3, REGISTRY, deployment)

    # Where a cluster would have a Deployment, a laptop has the same processes.
    run = Run(tmp_path / "run", tmp_path, tmp_path, champion_package)
    first = registry.register("flights", champion_package, read_package(champion_package).digest, OLD)
    assert first.already_registered
    inside = str(Path(REGISTRY) / first.directory.relative_to(tmp_path / "registry"))
    registered = RegistrationDocument(
        name="flights", version=1, uri=inside, digest=first.digest, already_registered=True
    )
    registered.write(run.registration.path)
    given = (run.package, run.verdict, run.registration, REGISTRY, run.deployment)
    before = supervisor.processes()["flights.v1"].pid
    deploy_model_server.python_func(*given)
    assert DeploymentDocument.read(run.deployment.path).url == url
    assert supervisor.processes()["flights.v1"].pid == before
    VerdictDocument(verdict="fail", reason="worse", rules=[]).write(run.verdict.path)
    with pytest.raises(ServingError, match="does not let this run deploy"):
        deploy_model_server.python_func(*given)


def test_in_a_cluster_deploying_asks_for_a_placement(
    monkeypatch: pytest.MonkeyPatch, model_directory: Path, raw_table: Path, package: Path, tmp_path: Path
) -> None:
    monkeypatch.delenv("STEPWORKS_SUPERVISOR", raising=False)
    run = Run(tmp_path / "run", model_directory, raw_table, package)
    registry = str(tmp_path / "registry")
    register_model.python_func(run.package, run.verdict, "flights", registry, "run", run.registration)
    with pytest.raises(ConfigurationError, match=r"(?s)is to run is not known.*placement_of\('serving'"):
        deploy.python_func(run.package, run.verdict, run.registration, registry, run.deployment)


def test_a_package_for_another_server_is_refused(
    supervisor: Supervisor, model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    manifest = build_package(model_directory, raw_table, package, format="triton")
    metadata = Metadata(run="r", created_by="test")
    model = Registry(tmp_path / "registry").register("flights", package, manifest.digest, metadata)
    verdict = VerdictDocument(verdict="pass", reason="good", rules=[])
    with pytest.raises(ServingError, match=r"(?s)not one to serve on this machine.*triton.*Expected: onnxruntime"):
        library.deploy(model, verdict, None, supervisor)
    assert supervisor.processes() == {}


def test_a_candidate_that_cannot_start_leaves_nothing(supervisor: Supervisor, package: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    model = registry.register("flights", package, "d", Metadata(run="r", created_by="test"))
    (model.directory / "model.onnx").write_bytes(b"not a graph")
    write_manifest(model.directory, read_package(package).inputs)
    verdict = VerdictDocument(verdict="pass", reason="good", rules=[])
    with pytest.raises(ServingError, match=r"(?s)exit code 1.*The model of the package .* cannot be loaded"):
        library.deploy(model, verdict, None, supervisor)
    assert supervisor.processes() == {}
