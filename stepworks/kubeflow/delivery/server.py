"""The API server of Kubeflow Pipelines, as far as delivery needs it: one method a call."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp_server_api as api
from kfp.client import Client
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.kubeflow.delivery.calls import call_again, call_once
from stepworks.kubeflow.delivery.login import Login

ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
"""The states of a run that is over; one whose state is not told yet is not."""

_PAGE = 100

_ANY_NAMESPACE = "single-user"
"""kfp's client, told no namespace, asks the server for it in its constructor, and again for 20 s if that fails."""


class Kubeflow:
    """The API server; made by `connect`.

    Attributes:
        host: Its address.
        namespace: The profile's namespace; None where Kubeflow has one user.
    """

    def __init__(self, client: Client, host: str, namespace: str | None) -> None:
        self._client = client
        self.host = host.rstrip("/")
        self.namespace = namespace

    def run_url(self, run_id: str) -> str:
        """Where the user interface shows a run."""
        return f"{self.host}/#/runs/details/{run_id}"

    def version_url(self, version: api.V2beta1PipelineVersion) -> str:
        """Where the user interface shows a version."""
        return f"{self.host}/#/pipelines/details/{version.pipeline_id}/version/{version.pipeline_version_id}"

    # ---------------------------------------------------------------------------------- pipelines and versions

    def find_pipeline(self, name: str) -> api.V2beta1Pipeline | None:
        """The pipeline of that name, or None."""
        get = self._client.pipelines.pipeline_service_get_pipeline_by_name
        try:
            return call_again(f"read the pipeline {name}", get, name, **self._in_namespace())
        except NotFoundError:
            return None

    def create_pipeline(self, name: str, description: str) -> api.V2beta1Pipeline:
        """Make a pipeline that has no version yet."""
        body = api.V2beta1Pipeline(name=name, display_name=name, description=description, **self._in_namespace())
        return call_once(f"make the pipeline {name}", self._client.pipelines.pipeline_service_create_pipeline, body)

    def versions(self, pipeline_id: str) -> Iterator[api.V2beta1PipelineVersion]:
        """The versions of a pipeline."""
        list_versions = self._client.pipelines.pipeline_service_list_pipeline_versions
        return self._pages("read the versions", list_versions, "pipeline_versions", pipeline_id)

    def find_version(self, pipeline_id: str, name: str) -> api.V2beta1PipelineVersion | None:
        """The version of that name, or None."""
        return next((each for each in self.versions(pipeline_id) if name in {each.name, each.display_name}), None)

    def upload_version(self, pipeline_id: str, name: str, description: str, path: Path) -> api.V2beta1PipelineVersion:
        """Upload a file as a version."""
        upload = self._client.pipeline_uploads.upload_pipeline_version
        return call_once(
            f"upload the version {name}", upload, str(path), name=name, pipelineid=pipeline_id, description=description
        )

    # -------------------------------------------------------------------------------------- experiments and runs

    def find_experiment(self, name: str) -> api.V2beta1Experiment | None:
        """The experiment of that name, or None."""
        list_experiments = self._client.experiments.experiment_service_list_experiments
        found = self._pages(
            "read the experiments",
            list_experiments,
            "experiments",
            filter=_equals("name", name),
            **self._in_namespace(),
        )
        return next(found, None)

    def create_experiment(self, name: str) -> api.V2beta1Experiment:
        """Make an experiment."""
        body = api.V2beta1Experiment(display_name=name, **self._in_namespace())
        create = self._client.experiments.experiment_service_create_experiment
        return call_once(f"make the experiment {name}", create, body)

    def create_run(self, run: api.V2beta1Run) -> api.V2beta1Run:
        """Start a run."""
        return call_once(f"start the run {run.display_name}", self._client.runs.run_service_create_run, run)

    def find_run(self, experiment_id: str, display_name: str, mark: str) -> api.V2beta1Run | None:
        """The run of that name whose description holds a mark, or None."""
        runs = self._pages(
            "read the runs",
            self._client.runs.run_service_list_runs,
            "runs",
            experiment_id=experiment_id,
            filter=_equals("display_name", display_name),
        )
        return next((run for run in runs if mark in (run.description or "")), None)

    def run(self, run_id: str) -> api.V2beta1Run:
        """A run as it stands."""
        return call_again(f"read the run {run_id}", self._client.runs.run_service_get_run, run_id)

    def active_runs(self, recurring_run_id: str) -> list[api.V2beta1Run]:
        """The runs of a schedule that have not ended."""
        runs = self._pages("read the runs", self._client.runs.run_service_list_runs, "runs", **self._in_namespace())
        return [run for run in runs if run.recurring_run_id == recurring_run_id and run.state not in ENDED]

    # ------------------------------------------------------------------------------------------------ schedules

    def recurring_runs(self) -> Iterator[api.V2beta1RecurringRun]:
        """The recurring runs of the namespace, whoever made them."""
        list_recurring_runs = self._client.recurring_runs.recurring_run_service_list_recurring_runs
        return self._pages("read the schedules", list_recurring_runs, "recurring_runs", **self._in_namespace())

    def recurring_run(self, recurring_run_id: str) -> api.V2beta1RecurringRun:
        """A recurring run as it stands."""
        get = self._client.recurring_runs.recurring_run_service_get_recurring_run
        return call_again("read the schedule", get, recurring_run_id)

    def create_recurring_run(self, body: api.V2beta1RecurringRun) -> api.V2beta1RecurringRun:
        """Make a recurring run."""
        create = self._client.recurring_runs.recurring_run_service_create_recurring_run
        return call_once(f"make the schedule {body.display_name}", create, body)

    def set_enabled(self, recurring_run_id: str, *, enabled: bool) -> None:
        """Enable or disable a recurring run; the same again changes nothing, so it is tried again like a read."""
        service = self._client.recurring_runs
        if enabled:
            call_again("enable the schedule", service.recurring_run_service_enable_recurring_run, recurring_run_id)
        else:
            call_again("disable the schedule", service.recurring_run_service_disable_recurring_run, recurring_run_id)

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """Delete a recurring run, and with it, in the cluster, the runs that it started and that are not over."""
        delete = self._client.recurring_runs.recurring_run_service_delete_recurring_run
        try:
            call_again("delete the schedule", delete, recurring_run_id)
        except NotFoundError:
            return  # an earlier try, whose answer was lost, deleted it

    # -------------------------------------------------------------------------------------------------- private

    def _in_namespace(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _pages(
        self, what: str, function: Callable[..., Any], field: str, *arguments: Any, **named: Any
    ) -> Iterator[Any]:
        """What a list call gives, page after page."""
        token = ""
        while True:
            page = call_again(what, function, *arguments, page_size=_PAGE, page_token=token, **named)
            yield from getattr(page, field) or []
            token = page.next_page_token or ""
            if not token:
                return


def _equals(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "string_value": value}]})


def connect(login: Login) -> Kubeflow:
    """Log in, and see that Kubeflow Pipelines answers.

    Raises:
        ConfigurationError: It cannot be reached, is something else, does not take the login, or has several users
            and no namespace was named.
    """
    token_path = login.token_path
    login.check_token_file()
    if login.ca_file and not login.ca_file.is_file():
        raise ConfigurationError(f"There is no certificate authority {login.ca_file}", what_to_do="Correct --ca-file.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it wants Kubeflow Pipelines 2
        client = Client(
            host=login.host,
            namespace=login.namespace or _ANY_NAMESPACE,
            existing_token=login.token(),
            credentials=ServiceAccountTokenVolumeCredentials(str(token_path)) if token_path else None,
            ssl_ca_cert=str(login.ca_file) if login.ca_file else None,
        )
    health = call_again("ask for its health", client.healthzs.healthz_service_get_healthz)
    if health.multi_user is None and health.pipeline_store is None:
        raise ConfigurationError(
            f"What answers at {login.host} is not Kubeflow Pipelines 2",
            expected="the API server of Kubeflow Pipelines, or its user interface",
            what_to_do="Correct the host; where a login page stands before it, give a token.",
        )
    if health.multi_user and not login.namespace:
        raise ConfigurationError(
            "Kubeflow has several users here, so the namespace must be named",
            expected="the namespace of your profile",
            what_to_do="Add --namespace NAME.",
        )
    # With one user there are no namespaces, whatever was given: a schedule's key must not depend on it.
    return Kubeflow(client, login.host, login.namespace if health.multi_user else None)
