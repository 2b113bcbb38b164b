from pathlib import Path

import pytest

from stepworks.errors import NotFoundError, ResourceError, RunError
from stepworks.report.documents import SplitDocument, VerdictDocument, read_document


def test_every_kind_comes_back_as_it_was_written(documents: dict, tmp_path: Path) -> None:
    for left in documents.values():
        for document in left:
            path = document.write(tmp_path / "folder" / "document")
            assert read_document(path) == type(document).read(path) == document
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["document"]


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ('{"kind": "verdict"}', "verdict.verdict"),
        ('{"kind": "horoscope"}', "horoscope"),
        ("{", "EOF"),
    ],
)
def test_a_file_that_is_no_document(content: str, received: str, tmp_path: Path) -> None:
    (tmp_path / "document").write_text(content)
    with pytest.raises(RunError, match="not a Stepworks document") as caught:
        read_document(tmp_path / "document")
    assert received in caught.value.received
    with pytest.raises(RunError, match="not a SplitDocument"):
        SplitDocument.read(tmp_path / "document")


def test_a_document_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        VerdictDocument.read(tmp_path / "document")
    with pytest.raises(RunError):
        read_document(tmp_path / "document")


def test_a_document_that_cannot_be_written_leaves_nothing(documents: dict, tmp_path: Path) -> None:
    (tmp_path / "document").mkdir()  # a folder is where the file has to go
    with pytest.raises(ResourceError, match="Cannot write"):
        documents["gate"][0].write(tmp_path / "document")
    assert [path.name for path in tmp_path.iterdir()] == ["document"]
