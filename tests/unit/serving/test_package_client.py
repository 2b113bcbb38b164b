"""Asking servers for recorded rows: what is sent for each format, what is made of the answers, how far off they are.

That the real servers take and give this is shown by tests/model_servers and by the tests on a control plane.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ServingError
from stepworks.serving.answers import difference, largest_difference
from stepworks.serving.check import require_recorded_answers
from stepworks.serving.formats.kserve import served
from stepworks.serving.manifest import InputTensor, Manifest, OutputTensor, Samples
from stepworks.serving.package_client import PackageClient
from tests.http_server import serving

Answer = Callable[[dict[str, Any]], tuple[int, Any]]
TABLE = (InputTensor(name="distance", datatype="FP32"), InputTensor(name="carrier", datatype="BYTES"))
ROWS = Samples(
    rows=[{"distance": 100 + n, "carrier": None} for n in range(100)], answers=[0.001 * n for n in range(100)]
)
ROWS.rows[0]["distance"] = None
PROMPTS = Samples(
    rows=[{"text": "Once"}, {"text": "Then"}], answers=[[5, 6, 7], [8, 9]], texts=[" upon a time", " it was so"]
)


def manifest(layout: str, inputs: tuple[InputTensor, ...] = TABLE, output: OutputTensor = OutputTensor()) -> Manifest:  # noqa: B008
    return Manifest(format=layout, inputs=inputs, output=output, files={}, digest="")


class Server:
    """Plays a server: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: Answer = lambda body: (200, {})
        self.url = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body))
                status, content = outer.answer(body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    played = Server()
    with serving(played.handler()) as port:
        played.url = f"http://127.0.0.1:{port}"
        yield played


def probabilities(body: dict[str, Any]) -> tuple[int, Any]:
    """Answer as recorded, by the distance."""
    numbers = body["inputs"][0]["data"]
    values = [0.0 if number is None or math.isnan(number) else 0.001 * (number - 100) for number in numbers]
    output = {"name": "probability", "datatype": "FP32", "shape": [len(values), 1], "data": values}
    return 200, {"model_name": "any", "outputs": [output]}


def client(server: Server, layout: str, samples: Samples = ROWS, **given: Any) -> PackageClient:
    return PackageClient(server.url, "flights-v2", "flights", served(layout), manifest(layout, **given), samples)


def test_rows_go_to_the_versions_own_model_in_one_request(server: Server) -> None:
    server.answer = probabilities
    with client(server, "onnxruntime") as asked:
        assert asked.ask(ROWS.rows) == pytest.approx(ROWS.answers)
    ((path, body),) = server.asked
    assert path == "/v2/models/flights-v2/infer"
    assert [(each["name"], each["datatype"], each["shape"]) for each in body["inputs"]] == [
        ("distance", "FP32", [100, 1]),
        ("carrier", "BYTES", [100, 1]),
    ]
    assert body["inputs"][0]["data"][:2] == [None, 101]
    assert body["inputs"][1]["data"][0] == ""


def test_triton_gets_the_word_nan_and_64_rows_at_most(server: Server) -> None:
    server.answer = probabilities
    with client(server, "triton") as asked:
        difference, latencies = require_recorded_answers(asked, ROWS)
    assert difference < 1e-9
    assert len(latencies) == 100
    assert {path for path, _ in server.asked} == {"/v2/models/model/infer"}
    assert [body["inputs"][0]["shape"][0] for _, body in server.asked[:2]] == [64, 36]
    assert math.isnan(server.asked[0][1]["inputs"][0]["data"][0])


def test_tensors_of_any_shape_and_a_server_with_names_of_its_own(server: Server) -> None:
    pixels = [[[n, 2], [3, 4]] for n in range(3)]
    samples = Samples(rows=[{"images": each} for each in pixels], answers=[[n, -n] for n in range(3)])
    data = [value for answer in samples.answers for value in answer]
    server.answer = lambda body: (200, {"outputs": [{"name": "predict", "shape": [3, 2], "data": data}]})
    images = (InputTensor(name="images", datatype="UINT8", shape=(2, 2)),)
    scores = OutputTensor(name="logits", shape=(2,))
    with client(server, "sklearn", samples, inputs=images, output=scores) as asked:
        assert asked.ask(samples.rows) == samples.answers
    (tensor,) = server.asked[0][1]["inputs"]
    assert (tensor["shape"], tensor["data"]) == ([3, 2, 2], [0, 2, 3, 4, 1, 2, 3, 4, 2, 2, 3, 4])


@pytest.mark.parametrize(
    ("runtime", "path", "model"),
    [
        ("kserve-huggingfaceserver", "/openai/v1/completions", "stories"),
        ("kserve-vllmserver", "/v1/completions", "stories"),
        ("stepworks-transformers", "/v1/completions", "/mnt/models"),
    ],
)
def test_prompts_are_completed_one_by_one_by_the_likeliest_tokens(
    server: Server, runtime: str, path: str, model: str
) -> None:
    texts = {"Once": "upon a time there", "Then": " it was so"}
    server.answer = lambda body: (200, {"choices": [{"text": texts[body["prompt"]]}]})
    way = served("huggingface", runtime)
    text = (InputTensor(name="text", datatype="BYTES"),)
    with PackageClient(server.url, "stories-v1", "stories", way, manifest("huggingface", text), PROMPTS) as asked:
        largest, _ = require_recorded_answers(asked, PROMPTS, way.tolerance, way.excused)
    assert largest == 0
    assert server.asked[0] == (
        path,
        {"model": model, "prompt": "Once", "max_tokens": 3, "temperature": 0},
    )


def test_every_version_has_the_name_that_clients_ask_for() -> None:
    assert served("huggingface", "kserve-vllmserver").arguments_for("stories") == ("--served-model-name=stories",)
    assert "--model_name=stories" in served("huggingface").arguments_for("stories")


def test_a_wrong_answer_is_one_of_another_value_form_or_status(server: Server) -> None:
    with client(server, "onnxruntime") as asked:
        server.answer = probabilities
        right = asked.send(ROWS.rows[5:6])
        assert not asked.is_wrong(right, 0.005)
        assert asked.is_wrong(right, 0.0051)
        assert asked.is_wrong(right, None)
        for answer in ((400, {}), (200, {}), (200, []), (200, {"outputs": [{"name": "a", "shape": [0], "data": []}]})):
            server.answer = lambda body, answer=answer: answer  # type: ignore[misc]
            assert asked.is_wrong(asked.send(ROWS.rows[:1]), 0.0)


def test_what_is_no_answer_is_told(server: Server) -> None:
    with client(server, "onnxruntime") as asked:
        server.answer = lambda body: (503, {"error": "loading"})
        with pytest.raises(ServingError, match=r"(?s)refuses POST.*503.*loading"):
            asked.ask(ROWS.rows)
        server.answer = lambda body: (200, {"predictions": [1]})
        with pytest.raises(ServingError, match=r"(?s)another form.*KeyError.*predictions.*stepworks-onnxruntime"):
            asked.ask(ROWS.rows)
        server.answer = lambda body: (200, {"outputs": [{"name": "p", "shape": [1, 1], "data": [0.5]}]})
        with pytest.raises(ServingError, match=r"(?s)another form.*1 answers"):
            asked.ask(ROWS.rows)


@pytest.mark.parametrize(
    ("answer", "expected", "wanted"),
    [
        (0.25, 0.2, 0.05),
        (110.0, 100.0, 0.1),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ("upon a night", " upon a time", 4 / 11),
        ("anything", "", 0.0),
        ("longer than", "longer", 0.0),
    ],
)
def test_how_far_an_answer_is_off(answer: Any, expected: Any, wanted: float) -> None:
    assert difference(answer, expected) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("answer", "expected"), [(math.nan, 0.1), ([1.0], [1.0, 2.0]), ("text", 0.1), (0.1, "text"), (None, 0.1)]
)
def test_an_answer_of_another_form_is_as_far_off_as_can_be(answer: Any, expected: Any) -> None:
    assert math.isnan(difference(answer, expected))


def test_of_texts_some_may_go_on_otherwise() -> None:
    samples = Samples(rows=[{"text": "a"}] * 10, answers=[[1]] * 10, texts=["the same"] * 10)
    answers = ["the same"] * 7 + ["other"] * 3
    assert largest_difference(samples, answers, answers, 0.5, 0.3) == 1
    with pytest.raises(ServingError, match=r"(?s)'other' alone.*'the same'.*4 of 10 rows.*tokenizer"):
        largest_difference(samples, answers, [*answers[:6], "other", *answers[7:]], 0.5, 0.3)


def test_packages_of_before_have_no_texts(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text('{"rows": [{"a": 1}], "probabilities": [0.5]}')
    assert Samples.read(tmp_path).texts is None
