"""Recorded requests to two versions: what is compared, and when that is a reason to stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stepworks.errors import DataError, ServingError
from stepworks.report.documents import DeploymentDocument
from stepworks.report.shadow_document import ShadowDocument
from stepworks.serving.formats.kserve import served
from stepworks.serving.manifest import InputTensor, Manifest, Samples
from stepworks.serving.package_client import PackageClient
from stepworks.serving.shadow import ShadowSettings, compare_answers, read_requests, require_alike
from tests.http_server import serving

MANIFEST = Manifest(inputs=(InputTensor(name="distance", datatype="FP32"),), files={}, digest="")
ROWS = [{"distance": float(number)} for number in range(20)]
DEPLOYMENT = DeploymentDocument(
    service="flights", url="http://nobody", stable_version="1", candidate_version="2", model_directory=""
)


def answering(answer: Callable[[float], float | None]) -> type[BaseHTTPRequestHandler]:
    """A version that answers by a function of the distance; with 500 where that is None."""

    class Version(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            value = answer(body["inputs"][0]["data"][0])
            output = {"name": "probability", "datatype": "FP32", "shape": [1, 1], "data": [value]}
            self.send_response(500 if value is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"outputs": [output]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Version


Compare = Callable[..., ShadowDocument]


@pytest.fixture
def compare() -> Iterator[Compare]:
    with ExitStack() as stack:

        def client(answer: Callable[[float], float | None]) -> PackageClient:
            port = stack.enter_context(serving(answering(answer)))
            samples = Samples(rows=ROWS, answers=[0.0] * len(ROWS))
            url = f"http://127.0.0.1:{port}"
            return stack.enter_context(
                PackageClient(url, "flights", "flights", served("onnxruntime"), MANIFEST, samples)
            )

        def compare(candidate: Any, stable: Any = lambda x: x / 100, **settings: Any) -> ShadowDocument:
            return compare_answers(DEPLOYMENT, client(candidate), client(stable), ROWS, ShadowSettings(**settings))

        yield compare


def test_the_same_answers_pass(compare: Compare) -> None:
    found = compare(lambda x: x / 100 + 0.001)
    assert (found.requests, found.compared, found.differing, found.passed) == (20, 20, 0, True)
    assert found.largest[0].difference == pytest.approx(0.001)
    assert set(found.latency_p50_ms) == {"stable", "candidate"}
    require_alike(found, "page.html")


def test_answers_that_differ_are_counted_and_shown_the_largest_first(compare: Compare) -> None:
    found = compare(lambda x: x / 100 + (x if x in (3, 7) else 0), allowed_share=0.05)
    assert (found.differing, found.passed) == (2, False)
    assert [each.row for each in found.largest[:2]] == ["distance 7.0", "distance 3.0"]
    assert compare(lambda x: x / 100 + (x if x in (3, 7) else 0), allowed_share=0.1).passed
    with pytest.raises(ServingError, match=r"(?s)2 of 20 answers differ by more than 0\.1.*at most 5\.0%.*page\.html"):
        require_alike(found, "page.html")


def test_a_candidate_that_fails_where_the_other_answers_does_not_pass(compare: Compare) -> None:
    found = compare(lambda x: None if x == 4 else x / 100)
    assert (found.compared, found.failed_candidate, found.failed_stable, found.passed) == (19, 1, 0, False)
    assert compare(lambda x: None if x == 4 else x / 100, lambda x: None if x == 5 else x / 100).passed


def test_requests_are_spread_over_the_table(tmp_path: Path) -> None:
    pl.DataFrame({"distance": range(100), "late": range(100)}).write_parquet(tmp_path / "requests.parquet")
    assert read_requests(tmp_path / "requests.parquet", MANIFEST, 3) == [{"distance": each} for each in (0, 50, 99)]
    assert len(read_requests(tmp_path / "requests.parquet", MANIFEST, 1000)) == 100


def test_a_table_without_rows_or_a_feature_is_told(tmp_path: Path) -> None:
    pl.DataFrame({"distance": []}).write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="There are no requests in"):
        read_requests(tmp_path / "empty.parquet", MANIFEST, 3)
    pl.DataFrame({"length": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="distance"):
        read_requests(tmp_path / "other.parquet", MANIFEST, 3)
