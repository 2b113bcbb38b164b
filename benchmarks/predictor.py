"""`make bench-predictor`: our model server under 32 clients, beside a bare loop of ONNX Runtime and KServe's server.

Two models with the same signature, each as a graph for ours and the loop, and as scikit-learn's for KServe's server: a
large one, whose weights are read from memory for each run, and a small one, which takes hardly more than the request.
A request has one row. The bare loop runs one row after the other, in one thread, without any server. The clients are
one process; they, too, take a part of the processors.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.neural_network import MLPRegressor

from stepworks.serving.manifest import MODEL_FILE, OUTPUT, InputTensor, write_manifest
from stepworks.serving.session import load_session
from testbed.modules import built
from testbed.ports import choose_ports

CLIENTS = 32
SECONDS = 10.0
WARM_UP_SECONDS = 2.0
FEATURES = 8
SIZES = {"large (4.2 million weights)": 2048, "small (4,800 weights)": 64}
LIMIT = 0.9
"""What of the bare loop's rows a second our server is to answer."""


@dataclass(frozen=True)
class Measured:
    """What clients saw of a server.

    Attributes:
        rate: Answers a second.
        latencies: Seconds of each request.
        megabytes: The most memory that the server's process has had.
    """

    rate: float
    latencies: list[float]
    megabytes: float


def main() -> None:
    """Measure both models, each by the loop, our server and KServe's."""
    for name, width in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            _measure(name, width, Path(folder))


def _measure(name: str, width: int, folder: Path) -> None:
    model = _model(width)
    package, estimator = folder / "package", folder / "estimator"
    package.mkdir()
    estimator.mkdir()
    _write_package(model, package)
    joblib.dump(model, estimator / "model.joblib")
    bare = _bare_loop(package)
    ours = ["-m", "stepworks.serving.server", f"--model-directory={package}", "--model-name=model"]
    columns = [{"name": f"x{n}", "datatype": "FP32", "shape": [1, 1], "data": [0.5]} for n in range(FEATURES)]
    row = [{"name": "input", "datatype": "FP32", "shape": [1, FEATURES], "data": [0.5] * FEATURES}]
    sources = built("kserve-0.20") / "manifests" / "kserve" / "python"
    theirs = ["-m", "sklearnserver", f"--model_dir={estimator}", "--model_name=model", "--enable_grpc=false"]
    path = f"{sources / 'sklearnserver'}:{sources / 'storage'}"
    print(f"{name}: a bare loop of ONNX Runtime answers {bare:,.0f} rows a second")
    for who, command, inputs, variables in (
        ("ours", [*ours, "--port={port}"], columns, {}),
        ("KServe's for scikit-learn", [*theirs, "--http_port={port}"], row, {"PYTHONPATH": path}),
    ):
        with _server(command, variables) as (port, process):
            asyncio.run(_ask(port, inputs, WARM_UP_SECONDS))
            measured = asyncio.run(_ask(port, inputs, SECONDS, process.pid))
        quantiles = statistics.quantiles(measured.latencies, n=100)
        print(
            f"{name}: {who:<26} {measured.rate:8,.0f} a second  of the bare loop's {measured.rate / bare:5.2f}  "
            f"p50 {1000 * quantiles[49]:6.1f} ms  p99 {1000 * quantiles[98]:6.1f} ms  {measured.megabytes:6.0f} MB"
        )
    print(f"{name}: ours is to answer at least {LIMIT} of what the bare loop does")
    sys.stdout.flush()


def _model(width: int) -> MLPRegressor:
    """A perceptron of two hidden layers; what it has learnt is of no matter."""
    generator = np.random.default_rng(0)
    model = MLPRegressor(hidden_layer_sizes=(width, width), max_iter=1, random_state=0)
    model.fit(generator.normal(size=(200, FEATURES)).astype(np.float32), generator.normal(size=200).astype(np.float32))
    return model


def _write_package(model: MLPRegressor, package: Path) -> None:
    names = [f"x{number}" for number in range(FEATURES)]
    nodes, weights, last = [helper.make_node("Concat", names, ["h0"], axis=1)], [], "h0"
    for number, (kernel, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), 1):
        weights += [
            numpy_helper.from_array(kernel.astype(np.float32), f"w{number}"),
            numpy_helper.from_array(bias.astype(np.float32), f"b{number}"),
        ]
        is_last = number == len(model.coefs_)
        given = OUTPUT if is_last else f"g{number}"
        nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [given]))
        if not is_last:
            last = f"h{number}"
            nodes.append(helper.make_node("Relu", [given], [last]))
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 1]) for name in names]
    output = helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph(nodes, "perceptron", inputs, [output], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    (package / MODEL_FILE).write_bytes(made.SerializeToString())
    write_manifest(package, tuple(InputTensor(name=name, datatype="FP32") for name in names))


def _bare_loop(package: Path) -> float:
    """How many rows a second a loop answers, one after the other."""
    session = load_session(package)
    feed = {f"x{number}": np.full((1, 1), 0.5, np.float32) for number in range(FEATURES)}
    for seconds in (WARM_UP_SECONDS, SECONDS):
        runs, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            session.run(None, feed)
            runs += 1
    return runs / SECONDS


@contextmanager
def _server(command: list[str], variables: dict[str, str]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    (port,) = choose_ports(1)
    filled = [sys.executable, *(each.format(port=port) for each in command)]
    environment = {"PATH": "", "OMP_NUM_THREADS": "1", **variables}
    process = subprocess.Popen(filled, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready = f"http://127.0.0.1:{port}/v2/models/model/ready"
        while process.poll() is None:
            try:
                if httpx.get(ready, trust_env=False).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield port, process
    finally:
        process.terminate()
        process.wait()


async def _ask(port: int, inputs: list[dict[str, Any]], seconds: float, pid: int | None = None) -> Measured:
    """Ask by all clients for so long; each sends its next request when it has the answer to the last one."""
    body = json.dumps({"inputs": inputs}).encode()
    head = (
        "POST /v2/models/model/infer HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    latencies: list[float] = []
    ends = time.monotonic() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < ends:
            began = time.monotonic()
            writer.write(head.encode() + body)
            answered = await reader.readuntil(b"\r\n\r\n")
            assert answered.startswith(b"HTTP/1.1 200"), answered
            length = next(line for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            latencies.append(time.monotonic() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return Measured(len(latencies) / seconds, latencies, _peak_megabytes(pid) if pid else 0)


def _peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


if __name__ == "__main__":
    main()
