"""An API server of Kubeflow Pipelines with state, in the test's own process.

It answers as `tests/data/kfp_recordings.json` has it, which a real server of KFP 2.17 gave;
`tests/unit/kubeflow/delivery/test_kfp_server.py` plays the recordings against it. On top of that it can fail: cut a
connection before or after it has acted, answer 5xx, ask for a token.

Longer than a file should be, since it is one server: a short method for each call, and the messages of the real one.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.http_server import serving

Json = dict[str, Any]
NEVER = "1970-01-01T00:00:00Z"


@dataclass
class RefusalError(Exception):
    """An answer that is an error."""

    status: int
    body: Json | str
    content_type: str = "application/json"


def grpc(status: int, code: int, message: str) -> RefusalError:
    return RefusalError(status, {"code": code, "message": message})


def upload_error(status: int, message: str, content_type: str = "application/json") -> RefusalError:
    return RefusalError(status, {"error_message": message, "error_details": message}, content_type)


@dataclass
class Fault:
    """What goes wrong, once: `before` the server acts or `after`, by a cut connection or a status."""

    method: str
    path: str
    kind: str
    times: int = 1

    def takes(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and re.search(self.path, path) is not None


@dataclass
class KfpServer:
    """The state of the server, and the calls that it has taken."""

    multi_user: bool = False
    token: str | None = None
    login_page: bool = False
    url: str = ""
    pipelines: dict[str, Json] = field(default_factory=dict)
    versions: dict[str, Json] = field(default_factory=dict)
    experiments: dict[str, Json] = field(default_factory=dict)
    recurring_runs: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    kept_otherwise: Json = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    clock: datetime = datetime(2026, 11, 24, 3, 27, 39, tzinfo=UTC)

    def fail(self, method: str, path: str, kind: str, times: int = 1) -> None:
        """Let the next calls of a method and path fail: `cut before`, `cut after`, or a status such as `503`."""
        self.faults.append(Fault(method, path, kind, times))

    def writes(self) -> list[tuple[str, str]]:
        """The calls that change something."""
        return [call for call in self.calls if call[0] != "GET"]

    def enabled(self) -> list[str]:
        """The recurring runs that run, by identifier."""
        return [key for key, each in self.recurring_runs.items() if each["status"] == "ENABLED"]

    def now(self) -> str:
        self.clock += timedelta(seconds=1)
        return self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    # ------------------------------------------------------------------------------------------------- answers

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Json:
        """Act on a request; the path without `/apis/v2beta1/`."""
        for verb, pattern, act in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                return act(self, *map(unquote, match.groups()), query=query, body=body)
        raise grpc(404, 5, "Not Found")

    def healthz(self, query: Json, body: Any) -> Json:
        return {
            "commit_sha": "unknown",
            "tag_name": "unknown",
            "multi_user": self.multi_user,
            "pipeline_store": "database",
        }

    def upload_pipeline(self, query: Json, body: Any) -> Json:
        specification = _specification(body)
        name = query.get("name", "")
        if any(each["name"] == name for each in self.pipelines.values()):
            raise upload_error(409, "Failed to create a pipeline and a pipeline version")
        made = self.create_pipeline(
            {}, {"name": name, "display_name": query.get("display_name", name), **_given(query)}
        )
        self._add_version(made["pipeline_id"], name, query, specification, made["display_name"])
        return made

    def create_pipeline(self, query: Json, body: Any) -> Json:
        name = body.get("name") or body["display_name"]
        if any(each["name"] == name for each in self.pipelines.values()):
            raise grpc(409, 6, f"Failed to create a pipeline: Already exist error: The name {name} already exists")
        made = {
            "pipeline_id": str(uuid.uuid4()),
            "display_name": body.get("display_name") or name,
            "name": name,
            **_given(body),
            "created_at": self.now(),
        }
        self.pipelines[made["pipeline_id"]] = made
        return made

    def upload_version(self, query: Json, body: Any) -> Json:
        specification = _specification(body)
        name, pipeline = query["name"], query["pipelineid"]
        if len(name) > 127:
            text = "Invalid input error: PipelineVersion.Name length cannot exceed 127\n"
            raise RefusalError(400, text, "text/plain; charset=utf-8")
        if pipeline not in self.pipelines:
            raise upload_error(400, "Failed to create a pipeline version", "text/plain; charset=utf-8")
        if any(each["pipeline_id"] == pipeline and each["name"] == name for each in self.versions.values()):
            raise upload_error(409, "Failed to create a pipeline version")
        return self._add_version(pipeline, name, query, specification)

    def _add_version(self, pipeline: str, name: str, query: Json, specification: Json, display: str = "") -> Json:
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": query.get("display_name") or display or name,
            "name": name,
            **_given(query),
            "created_at": self.now(),
            "pipeline_spec": specification,
        }
        self.versions[made["pipeline_version_id"]] = made
        return made

    def get_pipeline(self, pipeline: str, query: Json, body: Any) -> Json:
        if pipeline not in self.pipelines:
            problem = f"ResourceNotFoundError: Pipeline {pipeline} not found"
            told = (
                f"Failed to get a pipeline {pipeline}. Check error stack: Failed to get a pipeline with id {pipeline}"
            )
            raise grpc(404, 5, f"{told}: {problem}")
        return self.pipelines[pipeline]

    def get_pipeline_by_name(self, name: str, query: Json, body: Any) -> Json:
        namespace = query.get("namespace", "")
        for each in self.pipelines.values():
            if each["name"] == name:
                return each
        raise grpc(
            404,
            5,
            f"Failed to get a pipeline with name {name} and namespace {namespace}. Check error stack.: Failed to get a "
            f"pipeline named {name} in namespace {namespace}: ResourceNotFoundError: Namespace/Pipeline "
            f"{namespace}/{name} not found",
        )

    def list_pipelines(self, query: Json, body: Any) -> Json:
        return _page("pipelines", self.pipelines.values(), query)

    def list_versions(self, pipeline: str, query: Json, body: Any) -> Json:
        found = [each for each in self.versions.values() if each["pipeline_id"] == pipeline]
        return _page("pipeline_versions", found, query)

    def get_version(self, pipeline: str, version: str, query: Json, body: Any) -> Json:
        if version not in self.versions:
            raise grpc(404, 5, f"ResourceNotFoundError: PipelineVersion {version} not found")
        return self.versions[version]

    def delete_version(self, pipeline: str, version: str, query: Json, body: Any) -> Json:
        self.versions.pop(version, None)
        return {}

    def delete_pipeline(self, pipeline: str, query: Json, body: Any) -> Json:
        found = [key for key, each in self.versions.items() if each["pipeline_id"] == pipeline]
        if found and query.get("cascade") != "true":
            raise grpc(
                400,
                3,
                f"Failed to delete pipeline {pipeline}. Check error stack: Invalid input error: Failed to delete "
                f"pipeline with id {pipeline} as it has existing pipeline versions (e.g. {found[-1]}). Set "
                "cascade=true to delete all versions",
            )
        for key in found:
            del self.versions[key]
        self.pipelines.pop(pipeline, None)
        return {}

    def create_experiment(self, query: Json, body: Any) -> Json:
        name = body["display_name"]
        if any(each["display_name"] == name for each in self.experiments.values()):
            raise grpc(
                409,
                6,
                "Failed to create a experiment: Already exist error: Failed to create a new experiment. The name "
                f"{name} already exists. Please specify a new name",
            )
        made = {
            "experiment_id": str(uuid.uuid4()),
            "display_name": name,
            **_given(body),
            "created_at": self.now(),
            "storage_state": "AVAILABLE",
            "last_run_created_at": NEVER,
        }
        self.experiments[made["experiment_id"]] = made
        return made

    def list_experiments(self, query: Json, body: Any) -> Json:
        return _page("experiments", self.experiments.values(), query)

    def create_recurring_run(self, query: Json, body: Any) -> Json:
        self._check_recurring_run(body)
        at = self.now()
        # What is pinned to a version runs as the default ServiceAccount; one that follows the newest has none yet.
        reference = body["pipeline_version_reference"]
        account = body.get("service_account") or ("pipeline-runner" if "pipeline_version_id" in reference else None)
        made = {
            **{key: value for key, value in body.items() if value is not None},
            **self.kept_otherwise,
            "recurring_run_id": str(uuid.uuid4()),
            **({"service_account": account} if account else {}),
            "created_at": at,
            "updated_at": at,
            "status": "ENABLED" if body.get("mode") == "ENABLE" else "DISABLED",
            "namespace": "kubeflow",
        }
        self.recurring_runs[made["recurring_run_id"]] = made
        return made

    def _check_recurring_run(self, body: Json) -> None:
        told = "Failed to create a recurring run"
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise grpc(
                400,
                3,
                f"{told} due to conversion error: Invalid input error: Max concurrency of a recurring run must be at "
                f"least 1 and at most 10. Received {body.get('max_concurrency')}",
            )
        cron = body["trigger"].get("cron_schedule", {}).get("cron")
        if cron and not cron.startswith("@") and not 5 <= len(cron.split()) <= 6:
            raise grpc(
                400,
                3,
                f"{told} due to conversion error: Invalid input error: Schedule cron is not a supported "
                f"format(https://godoc.org/github.com/robfig/cron). Error: Expected 5 to 6 fields, found "
                f"{len(cron.split())}: {cron}",
            )
        version = body["pipeline_version_reference"].get("pipeline_version_id")
        if version and version not in self.versions:
            raise grpc(
                500,
                13,
                f"{told}: InternalServerError: {told} with an invalid pipeline spec manifest: Failed to fetch a "
                "template due to error retrieving pipeline version: Failed to fetch a pipeline version and its "
                "manifest from "
                f"pipeline version {version}: Failed to get a pipeline version with id {version}: "
                f"ResourceNotFoundError: PipelineVersion {version} not found",
            )
        if version:
            self._check_parameters(
                version,
                body.get("runtime_config", {}).get("parameters", {}),
                f"{told}: {told} during scheduled workflow creation",
            )

    def _check_parameters(self, version: str, parameters: Json, told: str) -> None:
        specification = self.versions[version]["pipeline_spec"]
        pipeline = specification.get("pipeline_spec", specification)
        declared = pipeline["root"].get("inputDefinitions", {}).get("parameters", {})
        unknown = [name for name in parameters if name not in declared]
        problem = "invalid pipeline job inputs: Invalid input error"
        if unknown:
            raise grpc(
                400, 3, f"{told}: {problem}: parameter(s) provided are not required by pipeline: {', '.join(unknown)}"
            )
        for name, value in parameters.items():
            if declared[name]["parameterType"].startswith("NUMBER") and not isinstance(value, int | float):
                raise grpc(
                    400,
                    3,
                    f"{told}: {problem}: input parameter {name} requires type double or integer, but the parameter "
                    "value is not of number value type",
                )

    def get_recurring_run(self, recurring_run: str, query: Json, body: Any) -> Json:
        if recurring_run not in self.recurring_runs:
            raise grpc(404, 5, f"Failed to fetch a recurring run: ResourceNotFoundError: Job {recurring_run} not found")
        return self.recurring_runs[recurring_run]

    def list_recurring_runs(self, query: Json, body: Any) -> Json:
        found = list(self.recurring_runs.values())
        if query.get("experiment_id"):
            found = [each for each in found if each["experiment_id"] == query["experiment_id"]]
        return _page("recurringRuns", found, query)

    def enable(self, recurring_run: str, query: Json, body: Any) -> Json:
        self.get_recurring_run(recurring_run, {}, None).update(mode="ENABLE", status="ENABLED")
        return {}

    def disable(self, recurring_run: str, query: Json, body: Any) -> Json:
        self.get_recurring_run(recurring_run, {}, None).update(mode="DISABLE", status="DISABLED")
        return {}

    def delete_recurring_run(self, recurring_run: str, query: Json, body: Any) -> Json:
        self.get_recurring_run(recurring_run, {}, None)
        del self.recurring_runs[recurring_run]
        for run in self.runs.values():
            if run.get("recurring_run_id") == recurring_run and run["state"] in {"PENDING", "RUNNING"}:
                run["state"] = "CANCELED"  # the runs belong to it in the cluster, and go with it
        return {}

    def create_run(self, query: Json, body: Any) -> Json:
        experiment = body.get("experiment_id", "")
        if experiment not in self.experiments:
            raise grpc(
                404,
                5,
                "Failed to create a new run: Failed to create a run due to invalid experimentId and namespace "
                f"combination: Failed to fetch namespace for experiment {experiment}: Failed to fetch namespace from "
                f"experiment {experiment}: ResourceNotFoundError: Experiment {experiment} not found",
            )
        version = body["pipeline_version_reference"]["pipeline_version_id"]
        parameters = body.get("runtime_config", {}).get("parameters", {})
        self._check_parameters(version, parameters, "Failed to create a new run: Failed to generate the ExecutionSpec")
        return self.add_run(
            experiment, body["display_name"], **{key: body[key] for key in _RUN_FIELDS if body.get(key) is not None}
        )

    def add_run(self, experiment: str, display_name: str, **fields: Any) -> Json:
        """Put a run there, as a schedule does."""
        at = self.now()
        made = {
            "experiment_id": experiment,
            "run_id": str(uuid.uuid4()),
            "display_name": display_name,
            "storage_state": "AVAILABLE",
            **fields,
            "service_account": fields.get("service_account", "pipeline-runner"),
            "created_at": at,
            "scheduled_at": at,
            "finished_at": NEVER,
            "state": "PENDING",
            "state_history": [{"update_time": at, "state": "PENDING"}],
        }
        self.runs[made["run_id"]] = made
        return made

    def get_run(self, run: str, query: Json, body: Any) -> Json:
        if run not in self.runs:
            raise grpc(404, 5, f"Failed to get a run: ResourceNotFoundError: Run {run} not found")
        return self.runs[run]

    def list_runs(self, query: Json, body: Any) -> Json:
        found = list(self.runs.values())
        if query.get("experiment_id"):
            found = [each for each in found if each["experiment_id"] == query["experiment_id"]]
        return _page("runs", found, query)

    def terminate(self, run: str, query: Json, body: Any) -> Json:
        self.get_run(run, {}, None)["state"] = "CANCELING"
        return {}

    def archive(self, run: str, query: Json, body: Any) -> Json:
        self.get_run(run, {}, None)["storage_state"] = "ARCHIVED"
        return {}


_RUN_FIELDS = ("pipeline_version_reference", "runtime_config", "service_account", "description")

ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "healthz", KfpServer.healthz),
    ("POST", "pipelines/upload", KfpServer.upload_pipeline),
    ("POST", "pipelines/upload_version", KfpServer.upload_version),
    ("POST", "pipelines", KfpServer.create_pipeline),
    ("GET", "pipelines", KfpServer.list_pipelines),
    ("GET", "pipelines/names/(.+)", KfpServer.get_pipeline_by_name),
    ("GET", "pipelines/([^/]+)", KfpServer.get_pipeline),
    ("DELETE", "pipelines/([^/]+)", KfpServer.delete_pipeline),
    ("GET", "pipelines/([^/]+)/versions", KfpServer.list_versions),
    ("GET", "pipelines/([^/]+)/versions/([^/]+)", KfpServer.get_version),
    ("DELETE", "pipelines/([^/]+)/versions/([^/]+)", KfpServer.delete_version),
    ("POST", "experiments", KfpServer.create_experiment),
    ("GET", "experiments", KfpServer.list_experiments),
    ("POST", "recurringruns", KfpServer.create_recurring_run),
    ("GET", "recurringruns", KfpServer.list_recurring_runs),
    ("GET", "recurringruns/([^/:]+)", KfpServer.get_recurring_run),
    ("DELETE", "recurringruns/([^/:]+)", KfpServer.delete_recurring_run),
    ("POST", "recurringruns/([^/:]+):enable", KfpServer.enable),
    ("POST", "recurringruns/([^/:]+):disable", KfpServer.disable),
    ("POST", "runs", KfpServer.create_run),
    ("GET", "runs", KfpServer.list_runs),
    ("GET", "runs/([^/:]+)", KfpServer.get_run),
    ("POST", "runs/([^/:]+):terminate", KfpServer.terminate),
    ("POST", "runs/([^/:]+):archive", KfpServer.archive),
]


def _given(fields: Json) -> Json:
    return {"description": fields["description"]} if fields.get("description") else {}


def _specification(text: str) -> Json:
    """What the server keeps of an uploaded file: its one document, or both under a key each."""
    documents = [each for each in yaml.safe_load_all(text) if each]
    if not documents or "pipelineInfo" not in documents[0]:
        raise upload_error(400, "unknown template format")
    if len(documents) == 1:
        return documents[0]
    return {"pipeline_spec": documents[0], "platform_spec": documents[1]}


def _page(name: str, items: Any, query: Json) -> Json:
    """A page of a list: filtered, the newest first where that is asked for, with a token for the next."""
    found = list(items)
    if query.get("filter"):
        try:
            predicates = json.loads(query["filter"])["predicates"]
        except ValueError:
            raise grpc(
                400,
                3,
                f"Failed to list {name} due to invalid tag filter in filter spec: Invalid input error: failed to parse "
                "filter spec: proto: syntax error (line 1:2): invalid value bad",
            ) from None
        for predicate in predicates:
            key = "display_name" if name == "experiments" else predicate["key"]
            found = [each for each in found if each.get(key) == predicate["string_value"]]
    if query.get("sort_by", "").endswith(" desc"):
        found.reverse()
    if name == "recurringRuns":
        found.reverse()
    begin = int(base64.b64decode(query["page_token"])) if query.get("page_token") else 0
    end = begin + int(query.get("page_size") or 20)
    page: Json = {name: found[begin:end]} if found[begin:end] else {}
    page["total_size"] = len(found)
    if end < len(found):
        page["next_page_token"] = base64.b64encode(str(end).encode()).decode()
    return page


# ----------------------------------------------------------------------------------------------------------- HTTP


class _Handler(BaseHTTPRequestHandler):
    state: KfpServer

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_GET  # noqa: N815  # as http.server calls them

    def _serve(self) -> None:
        state, url = self.state, urlsplit(self.path)
        path = url.path.removeprefix("/apis/v2beta1/")
        body = self._body()
        with state.lock:
            state.calls.append((self.command, path))
            fault = next((each for each in state.faults if each.takes(self.command, path)), None)
            if fault:
                fault.times -= 1
            if fault and fault.kind == "cut before":
                return self._cut()
            if fault and fault.kind.isdigit():
                return self._send(int(fault.kind), {"code": 14, "message": "upstream connect error"})
            if state.login_page:
                return self._send(200, "<!DOCTYPE html><html><body>Log in</body></html>", "text/html")
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                return self._send(401, {"code": 16, "message": "Unauthenticated: the token has expired"})
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            try:
                answer: tuple[int, Json | str, str] = (
                    200,
                    state.answer(self.command, path, query, body),
                    "application/json",
                )
            except RefusalError as refusal:
                answer = (refusal.status, refusal.body, refusal.content_type)
            if fault and fault.kind == "cut after":
                return self._cut()
            return self._send(*answer)

    def _body(self) -> Any:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content)
            return next(message.iter_parts()).get_payload(decode=True).decode()
        return json.loads(content) if content else None

    def _send(self, status: int, body: Json | str, content_type: str = "application/json") -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def kfp_server(**settings: Any) -> Iterator[KfpServer]:
    """Serve on a free port of this machine."""
    state = KfpServer(**settings)
    handler = type("Handler", (_Handler,), {"state": state})
    with serving(handler) as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state
