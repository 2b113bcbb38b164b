"""The test server against what a real one answered, and against the contract of the API."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import kfp_server_api
import pytest
import urllib3
import yaml

from tests.kfp_server import ROUTES, KfpServer, kfp_server

DATA = Path(__file__).parents[3] / "data"
RECORDINGS = {each["label"]: each for each in json.loads((DATA / "kfp_recordings.json").read_text())}
PIPELINE = (DATA / "kfp_recorded_pipeline.yaml").read_bytes()
MODELS = {
    "healthz": "V2beta1GetHealthzResponse",
    "upload pipeline": "V2beta1Pipeline",
    "upload version": "V2beta1PipelineVersion",
    "get pipeline": "V2beta1Pipeline",
    "list pipelines, page 1": "V2beta1ListPipelinesResponse",
    "list versions": "V2beta1ListPipelineVersionsResponse",
    "get version": "V2beta1PipelineVersion",
    "create experiment": "V2beta1Experiment",
    "list experiments, filter": "V2beta1ListExperimentsResponse",
    "create recurring run": "V2beta1RecurringRun",
    "create recurring run: interval": "V2beta1RecurringRun",
    "list recurring runs": "V2beta1ListRecurringRunsResponse",
    "create run": "V2beta1Run",
    "list runs": "V2beta1ListRunsResponse",
}
CONTRACT = json.loads((DATA / "kfp_api_contract.json").read_text())
"""Each call of the API v2beta1 with the names of its query parameters, as its description in OpenAPI has them."""


class Answer(NamedTuple):
    status: int
    content_type: str
    body: Any


@pytest.fixture(scope="module")
def played() -> Iterator[dict[str, Answer]]:
    """What the test server answers to the recorded requests, one after the other."""
    with kfp_server() as server:
        server.create_pipeline({}, {"name": "was there before"})
        known: dict[str, str] = {}
        answers = {}
        for label, recorded in RECORDINGS.items():
            answers[label] = ask(server, recorded["request"], known)
            learn(recorded["response"].get("json"), answers[label].body, known)
        yield answers


def ask(server: KfpServer, recorded: dict[str, Any], known: dict[str, str]) -> Answer:
    """Send a recorded request, with the identifiers that this server gave in place of the recorded ones."""
    text = json.dumps(recorded)
    for theirs, ours in known.items():
        text = text.replace(theirs, ours)
    request = json.loads(text)
    arguments: dict[str, Any] = {}
    if "multipart" in request:
        content = b"not: a pipeline\n" if request["query"]["name"] == "rec-bad" else PIPELINE
        arguments = {"fields": {"uploadfile": ("rec.yaml", content)}}
    elif "json" in request:
        arguments = {"body": json.dumps(request["json"]), "headers": {"Content-Type": "application/json"}}
    url = f"{server.url}{request['path']}?{urlencode(request.get('query', {}))}"
    answer = urllib3.PoolManager(retries=False).request(request["method"], url, **arguments)
    content_type = answer.headers["Content-Type"]
    body = answer.data.decode()
    return Answer(answer.status, content_type, json.loads(body) if body.startswith(("{", "[")) else body)


def learn(theirs: Any, ours: Any, known: dict[str, str]) -> None:
    """Note which identifier of ours stands for which recorded one."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key, value in theirs.items():
            if isinstance(value, str) and (key.endswith("_id") or key == "next_page_token") and key in ours:
                known[value] = ours[key]
            learn(value, ours.get(key), known)


def plain(value: Any) -> Any:
    """A body without what differs from one server to another: identifiers, times, the order of lists."""
    if isinstance(value, dict):
        return {
            key: "(a specification)"
            if key == "pipeline_spec"
            else "(a token)"
            if key.endswith("_token")
            else plain(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return sorted((plain(each) for each in value), key=json.dumps)
    if isinstance(value, str):
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(an identifier)", value)
        return re.sub(r"2026-\d\d-\d\dT[\d:]+Z", "(a time)", text)
    return value


@pytest.mark.parametrize("label", RECORDINGS)
def test_the_test_server_answers_as_a_real_one_did(played: dict[str, Answer], label: str) -> None:
    recorded = RECORDINGS[label]["response"]
    answer = played[label]
    assert answer.status == recorded["status"]
    assert answer.content_type.partition(";")[0] == recorded["content_type"].partition(";")[0]
    assert plain(answer.body) == plain(recorded["json"] if "json" in recorded else recorded["text"])


def test_a_version_gives_back_the_specification_that_was_uploaded(played: dict[str, Answer]) -> None:
    assert played["get version"].body["pipeline_spec"] == yaml.safe_load(PIPELINE)


@pytest.mark.parametrize(("label", "model"), MODELS.items())
def test_an_answer_holds_only_what_the_client_generated_from_the_contract_knows(
    played: dict[str, Answer], label: str, model: str
) -> None:
    kind = getattr(kfp_server_api, model)
    client = kfp_server_api.ApiClient()
    answered = played[label].body
    read = client.sanitize_for_serialization(client._ApiClient__deserialize(answered, kind))
    unknown = {"commit_sha", "tag_name"}  # a real server gives these two as well
    assert set(answered) - unknown <= set(read)


def test_every_call_of_the_test_server_is_in_the_contract() -> None:
    ours = {f"{method} {re.sub(r'[(].+?[)]', '{}', pattern)}" for method, pattern, _ in ROUTES}
    assert ours <= set(CONTRACT)


@pytest.mark.parametrize("recorded", RECORDINGS.values(), ids=RECORDINGS)
def test_the_recorded_requests_keep_to_the_contract(recorded: dict[str, Any]) -> None:
    request = recorded["request"]
    path = request["path"].removeprefix("/apis/v2beta1/")
    fitting = [
        set(parameters)
        for call, parameters in CONTRACT.items()
        if re.fullmatch(re.sub(r"\\{\\}", "[^/:]+", re.escape(call)), f"{request['method']} {path}")
    ]
    assert any(set(request.get("query", {})) <= parameters for parameters in fitting)
