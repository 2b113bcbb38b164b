from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, DeliveryError, NotFoundError, UserError
from stepworks.kubeflow.delivery.mark import Mark, read_mark
from stepworks.kubeflow.delivery.server import Kubeflow
from stepworks.kubeflow.delivery.upload import upload
from stepworks.kubeflow.delivery.version_file import VersionFile, compiled_pipelines, find_version_file
from stepworks.kubeflow.release import ReleasedFile, ReleaseIndex
from tests.kfp_server import KfpServer

FLAGSHIP = Path(__file__).parents[4] / "compiled"


@pytest.fixture
def file(compiled: Path) -> VersionFile:
    return find_version_file(compiled, "rows", target="a100")


def test_the_newest_version_is_found_by_number_and_not_by_letter(compiled: Path) -> None:
    assert find_version_file(compiled, "rows", target="mig").name == "0.10.0-mig"
    assert find_version_file(compiled, "rows", version="0.9.0").name == "0.9.0-a100"
    assert compiled_pipelines(compiled) == ["rows"]


@pytest.mark.parametrize(
    ("pipeline", "version", "target", "told"),
    [
        ("row", None, None, "one of rows"),
        ("rows", "1.0.0", None, "0.9.0, 0.10.0"),
        ("rows", "0.10.0-a100", None, "without the target"),
        ("rows", "0.10.0", "h100", "a100, mig"),
        ("rows", "../..", "a100", "0.9.0, 0.10.0"),
    ],
)
def test_what_is_not_compiled_is_told(
    compiled: Path, pipeline: str, version: str | None, target: str | None, told: str
) -> None:
    with pytest.raises(NotFoundError) as error:
        find_version_file(compiled, pipeline, version=version, target=target)
    assert told in str(error.value)


def test_of_several_targets_one_must_be_named(compiled: Path) -> None:
    with pytest.raises(ConfigurationError, match="--target a100"):
        find_version_file(compiled, "rows")


def test_an_upload_makes_the_pipeline_and_the_version(kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile) -> None:
    uploaded = upload(kubeflow, file)
    assert uploaded.outcome == "uploaded"
    assert [each["name"] for each in kfp.pipelines.values()] == ["p"]
    (version,) = kfp.versions.values()
    assert version["name"] == "0.10.0-a100"
    mark = read_mark(version["description"])
    assert mark is not None
    assert mark.key == "rows/0.10.0-a100"
    assert kubeflow.version_url(uploaded.version).endswith(version["pipeline_version_id"])


def test_the_same_bytes_again_write_nothing(kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile) -> None:
    upload(kubeflow, file)
    before = kfp.writes()
    assert upload(kubeflow, file).outcome == "unchanged"
    assert kfp.writes() == before


def test_other_bytes_under_one_version_are_an_error(kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile) -> None:
    upload(kubeflow, file)
    file.path.write_text(file.path.read_text() + "# a comment\n")
    changed = VersionFile(file.pipeline, file.version, file.target, file.path)
    with pytest.raises(DeliveryError, match="other content") as error:
        upload(kubeflow, changed)
    assert changed.digest[:16] in str(error.value)
    assert "new version" in str(error.value)
    assert len(kfp.versions) == 1


def test_what_was_uploaded_by_hand_is_compared_by_content(kfp: KfpServer, kubeflow: Kubeflow) -> None:
    path = next(FLAGSHIP.glob("tabular_train_and_deploy/*/a100.yaml"))
    file = VersionFile("tabular_train_and_deploy", path.parent.name, "a100", path)
    pipeline = kfp.create_pipeline({}, {"name": file.pipeline_name})
    kfp.upload_version({"name": file.name, "pipelineid": pipeline["pipeline_id"]}, path.read_text())
    assert upload(kubeflow, file).outcome == "unchanged"
    changed = path.read_text().replace("maxRetryCount: 5", "maxRetryCount: 4")
    (version,) = kfp.versions.values()
    version["name"] = "other"
    version["display_name"] = "other"
    kfp.upload_version({"name": file.name, "pipelineid": pipeline["pipeline_id"]}, changed)
    with pytest.raises(DeliveryError, match="uploaded by hand"):
        upload(kubeflow, file)


@pytest.mark.parametrize("kind", ["cut before", "cut after", "503", "500"])
@pytest.mark.parametrize("path", ["^pipelines$", "upload_version"])
def test_a_lost_answer_makes_nothing_twice(
    kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile, path: str, kind: str
) -> None:
    kfp.fail("POST", path, kind)
    assert upload(kubeflow, file).outcome == "uploaded"
    assert len(kfp.pipelines) == len(kfp.versions) == 1


def test_an_upload_that_stopped_between_pipeline_and_version_goes_on(
    kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile
) -> None:
    kfp.fail("POST", "upload_version", "503", times=99)
    with pytest.raises(DeliveryError, match="Run the command again"):
        upload(kubeflow, file)
    kfp.faults.clear()
    assert upload(kubeflow, file).outcome == "uploaded"
    assert len(kfp.pipelines) == 1


def test_a_released_file_that_was_changed_is_not_uploaded(kfp: KfpServer, compiled: Path, file: VersionFile) -> None:
    entry = ReleasedFile(sha256=file.digest, kfp="kfp-2.17.0", revision="0" * 40)
    ReleaseIndex().with_file("rows", "0.10.0", "a100", entry).write(compiled)
    assert find_version_file(compiled, "rows", target="a100").digest == file.digest
    with file.path.open("a") as content:
        content.write("# one more line\n")
    with pytest.raises(UserError, match="has changed"):
        find_version_file(compiled, "rows", target="a100")


def test_an_empty_version_folder_is_no_version(compiled: Path) -> None:
    (compiled / "rows" / "0.11.0" / "kubernetes").mkdir(parents=True)
    assert find_version_file(compiled, "rows", target="a100").version == "0.10.0"
    with pytest.raises(NotFoundError, match="no compiled pipeline in"):
        compiled_pipelines(compiled / "nothing")


def test_what_is_no_pipeline_is_refused_before_the_server_is_asked(
    kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile
) -> None:
    file.path.write_text("kind: Pod\napiVersion: v1\n")
    kfp.calls.clear()
    with pytest.raises(ConfigurationError, match=str(file.path)):
        upload(kubeflow, VersionFile(file.pipeline, file.version, file.target, file.path))
    assert not kfp.calls


def test_a_file_for_vertex_is_not_for_kubeflow() -> None:
    with pytest.raises(ConfigurationError, match=r"docs/vertex\.md"):
        find_version_file(FLAGSHIP, "tabular_train_and_deploy", target="vertex")


def test_names_that_kubeflow_would_refuse_are_told_before(
    kfp: KfpServer, kubeflow: Kubeflow, file: VersionFile
) -> None:
    long = VersionFile(file.pipeline, file.version, "t" * 130, file.path)
    with pytest.raises(ConfigurationError, match="127"):
        upload(kubeflow, long)
    assert not kfp.writes()


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark("stepworks/prod/-/nightly", "0123456789abcdef", "op")
    assert read_mark(mark.describe("For people.\nTwo lines.")) == mark
    assert read_mark("made by hand") is None
    assert read_mark(None) is None
    assert read_mark("managed-by=stepworks; key=x") is None
