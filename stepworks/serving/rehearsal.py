"""Proof that a bad version does not stay: a broken copy of the served model is rolled out, and has to come back."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import onnx
from onnx import helper

from stepworks.errors import NotFoundError, ServingError
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.deploy import server_process
from stepworks.serving.launch import ServerPlan, start_servers
from stepworks.serving.manifest import MODEL_FILE, OUTPUT, SAMPLES_FILE, read_package, write_manifest
from stepworks.serving.rollout.deployment import roll_out_arms
from stepworks.serving.rollout.local import LocalArm
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import HttpProber, read_probes
from stepworks.serving.split_admin import SplitSettings, change_split, read_split
from stepworks.supervisor.processes import ProcessManager

_CHECKED_REQUESTS = 20


def rehearse_roll_back(
    manager: ProcessManager,
    deployment: DeploymentDocument,
    *,
    policy: RolloutPolicy | None = None,
) -> CanaryDocument:
    """Roll out a broken copy of the version that was promoted, and expect it to be rolled back.

    Args:
        manager: Owns the processes.
        deployment: The deployment whose candidate was promoted.
        policy: The stages, and what the judge allows; `LAPTOP` by default.

    Returns:
        The course of the rehearsal; its outcome is `rolled_back`.

    Raises:
        ServingError: Nothing serves; the broken version was not rolled back by the judge; or the stable version
            does not answer alone and rightly afterwards. The broken version has ended in every case.
    """
    service, version = deployment.service, deployment.candidate_version
    package = Path(deployment.model_directory)
    stable_url = read_split(deployment.url).settings.stable
    if stable_url is None:
        raise ServingError(
            f"No version of {service} serves, so no roll-back can be rehearsed",
            expected="a promoted version",
            what_to_do="Roll a version out first.",
        )
    stable = LocalArm(version, server_process(service, version), stable_url, package)
    broken_version = f"{version}-broken"
    process = server_process(service, broken_version)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        try:
            broken_package = break_package(package, Path(folder) / "package")
            url = start_servers(manager, [ServerPlan(process, broken_package, service)])[process]
            broken = LocalArm(broken_version, process, url, broken_package)
            document = roll_out_arms(manager, deployment, stable, broken, policy=policy, rehearsal=True)
        finally:
            _take_out(manager, deployment, stable, process)
    require_roll_back(document)
    _require_stable_alone(deployment)
    return document


def break_package(package: Path, destination: Path) -> Path:
    """Copy a package so that its model answers 1 - p in place of p; its samples still hold the right answers.

    The copy has a manifest of its own, so that a server takes it for a good package.

    Args:
        package: A package's folder.
        destination: The folder of the copy; it must not exist.

    Returns:
        The destination.
    """
    manifest = read_package(package)
    model = onnx.load(package / MODEL_FILE)
    for node in model.graph.node:
        node.output[:] = ["right" if name == OUTPUT else name for name in node.output]
    model.graph.initializer.append(helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0]))
    model.graph.node.append(helper.make_node("Sub", ["one", "right"], [OUTPUT]))
    onnx.checker.check_model(model)
    destination.mkdir(parents=True)
    (destination / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))
    shutil.copyfile(package / SAMPLES_FILE, destination / SAMPLES_FILE)
    write_manifest(destination, manifest.inputs)
    return destination


def require_roll_back(document: CanaryDocument) -> None:
    """Refuse a rehearsal that did not end with a roll-back.

    Raises:
        ServingError: The judge let the broken version pass.
    """
    if document.outcome != "rolled_back":
        raise ServingError(
            f"The rehearsal's broken version of {document.service} was not rolled back",
            received=f"{document.outcome}: {document.reason}",
            expected="rolled_back",
            what_to_do="Make the judge stricter: it lets a model pass whose every answer is wrong.",
        )


def _take_out(manager: ProcessManager, deployment: DeploymentDocument, stable: LocalArm, broken: str) -> None:
    """Give all traffic to the stable version, whatever the judge said, and end the broken one."""
    try:
        change_split(deployment.url, SplitSettings(stable=stable.url))
    finally:
        with contextlib.suppress(NotFoundError):
            manager.stop(broken)


def _require_stable_alone(deployment: DeploymentDocument) -> None:
    state = read_split(deployment.url)
    probes = read_probes(Path(deployment.model_directory), Path(deployment.model_directory))
    with HttpProber(deployment.url, deployment.service, probes) as prober:
        results = [prober.send() for _ in range(_CHECKED_REQUESTS)]
    wrong = sum(result.wrong or result.arm != "stable" for result in results)
    if state.settings.candidate is not None or wrong:
        raise ServingError(
            f"The stable version of {deployment.service} does not serve alone after the rehearsed roll-back",
            received=f"{wrong} of {len(results)} answers are wrong or not its own; {state.settings}",
            expected="every answer from the stable version, and right",
            what_to_do="Deploy again, and look at the servers' logs.",
        )
