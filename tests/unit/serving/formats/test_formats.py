"""Which model gets into which format, what every package has, and how KServe serves it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stepworks.errors import ConfigurationError, NotFoundError, ServingError
from stepworks.serving.check import check_serving
from stepworks.serving.formats.kserve import SERVED, served
from stepworks.serving.formats.table import WRITERS
from stepworks.serving.manifest import Manifest, Samples, read_package
from stepworks.serving.package import build_package
from stepworks.serving.predict import predict_package
from stepworks.serving.server import serve
from stepworks.serving.session import predict_rows

Packaged = Callable[[str, str], Path]
RUNTIMES = Path(__file__).parents[4] / "cluster" / "serving-runtimes"
# torch.export takes most of a minute; `make test-model-servers` makes that package, and serves it.
WAYS = [
    (layout, kind)
    for layout, kinds in WRITERS.items()
    for kind in kinds
    if (layout, kind) != ("triton-python", "images")
]


@pytest.mark.parametrize(("layout", "kind"), WAYS)
def test_every_package_has_format_signature_samples_and_a_digest_of_each_file(
    packaged: Packaged, tmp_path: Path, layout: str, kind: str
) -> None:
    package = packaged(layout, kind)
    manifest = read_package(package)
    assert manifest.format == layout
    assert {each.name for each in manifest.inputs} == set(Samples.read(package).rows[0])
    found = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert set(manifest.files) == found - {"manifest.json"}
    for name in manifest.files:
        copy = Path(shutil.copytree(package, tmp_path / "copy"))
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        with pytest.raises(ServingError, match=f"missing or changed: {name}"):
            read_package(copy)
        shutil.rmtree(copy)


def test_what_a_server_reads_is_in_the_folder_that_kserve_is_given(packaged: Packaged) -> None:
    for layout, kind in WAYS:
        package, way = packaged(layout, kind), served(layout)
        held = [name for name in read_package(package).files if name != "samples.json"]
        assert all(name.startswith(way.folder) for name in held)
        assert way.storage_uri("pvc://models/a/1/") == f"pvc://models/a/1/{way.folder}".rstrip("/")


def test_a_format_that_the_model_has_no_way_into_says_which_it_has(
    model_directory: Path, image_model: Path, raw_table: Path, tmp_path: Path
) -> None:
    cases = [
        (
            model_directory,
            "triton-torchscript",
            r"(?s)A model of a table .*onnxruntime, triton, triton-python",
        ),
        (model_directory, "sklearn", r"(?s)packaged by package_estimator.*Expected: onnxruntime, triton"),
        (image_model, "onnxruntime", r"(?s)A model of images .*Expected: triton, triton-torchscript, triton-python"),
        (image_model, "huggingface", r"(?s)packaged by package_language_model"),
    ]
    for model, layout, told in cases:
        with pytest.raises(ServingError, match=told):
            build_package(model, raw_table, tmp_path / "package", format=layout)
    with pytest.raises(ConfigurationError, match=r"(?s)no format onnx\b.*onnxruntime, triton"):
        build_package(model_directory, raw_table, tmp_path / "package", format="onnx")
    with pytest.raises(NotFoundError, match="There is no model in"):
        build_package(tmp_path / "gone", raw_table, tmp_path / "package", format="triton")
    assert list(tmp_path.iterdir()) == []


def test_our_own_server_refuses_packages_of_other_formats(packaged: Packaged, raw_table: Path) -> None:
    package = packaged("triton", "table")
    told = r"(?s)a package of the format triton.*Expected: onnxruntime"
    with pytest.raises(ServingError, match=told):
        serve(package, "m", "127.0.0.1", 0)
    with pytest.raises(ServingError, match=told):
        predict_package(package, raw_table, "late")
    with pytest.raises(ServingError, match=told):
        predict_rows(package, [])
    with pytest.raises(ServingError, match=told):
        check_serving(package)


def test_a_package_of_before_there_were_formats_is_read_with_the_digest_it_had(tmp_path: Path) -> None:
    files = {"model.onnx": b"graph", "samples.json": b'{"rows":[{"x":1.0}],"probabilities":[0.5]}'}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    recorded = {
        "format": 1,
        "inputs": [{"name": "x", "datatype": "FP32"}],
        "output": {"name": "probability", "datatype": "FP32"},
        "files": {
            "model.onnx": "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d",
            "samples.json": "acfca92aeaa097fd8a5c6cb7e0727724ef9c7621af138fb808a2409589795faa",
        },
        "digest": "4d31c1294d06b4e4a75a3e6d2886f4c074dc38d4f91df8134a47dc1b7bf49486",
    }
    (tmp_path / "manifest.json").write_text(json.dumps(recorded))
    manifest = read_package(tmp_path)
    assert (manifest.format, manifest.digest) == ("onnxruntime", recorded["digest"])
    assert manifest.inputs[0].shape == (1,)
    assert Samples.read(tmp_path).probabilities == [0.5]


def test_answers_that_are_no_numbers_are_no_probabilities(packaged: Packaged) -> None:
    with pytest.raises(ServingError, match="The model's answers are no probabilities"):
        _ = Samples.read(packaged("triton", "images")).probabilities


def test_every_format_says_how_kserve_serves_it() -> None:
    assert set(WRITERS) <= set(SERVED)
    for layout, ways in SERVED.items():
        for way in ways:
            assert served(layout, way.runtime) is way
    with pytest.raises(ConfigurationError, match=r"(?s)not served by kserve-mlserver.*kserve-tritonserver"):
        served("triton", "kserve-mlserver")
    own = served("triton", "triton-of-our-team")
    assert (own.runtime, own.model_format, own.no_null) == ("triton-of-our-team", "triton", True)
    with pytest.raises(ConfigurationError, match="There is no format onnx"):
        served("onnx")


def test_our_serving_runtimes_are_in_the_repository_and_support_what_the_table_says() -> None:
    ours = {way.runtime: way for ways in SERVED.values() for way in ways if way.ours}
    listed = yaml.safe_load((RUNTIMES / "kustomization.yaml").read_text())["resources"]
    assert {Path(name).stem for name in listed} == set(ours)
    for name, way in ours.items():
        runtime = yaml.safe_load((RUNTIMES / f"{name}.yaml").read_text())
        assert runtime["metadata"]["name"] == name
        assert way.model_format in {each["name"] for each in runtime["spec"]["supportedModelFormats"]}
        assert way.protocol in runtime["spec"]["protocolVersions"]
        assert runtime["spec"]["containers"][0]["name"] == "kserve-container"


def test_a_manifest_says_what_a_reader_of_another_language_needs(packaged: Packaged) -> None:
    content = json.loads((packaged("triton", "images") / "manifest.json").read_text())
    assert content["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [3, 16, 16]}]
    assert content["output"] == {"name": "logits", "datatype": "FP32", "shape": [3]}
    assert Manifest.model_validate(content).format == "triton"
