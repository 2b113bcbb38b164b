from pathlib import Path

import pytest

from stepworks.errors import NotFoundError, ResourceError, RunError
from stepworks.report.documents import SplitDocument, VerdictDocument, find_document


def test_every_kind_comes_back_as_it_was_written(documents: dict, tmp_path: Path) -> None:
    for left in documents.values():
        for document in left:
            path = document.write(tmp_path / "folder" / "document")
            assert find_document(path) == type(document).read(path) == document
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["document"]


@pytest.mark.parametrize("content", ['{"kind": "horoscope"}', '{"rows": 3}', "[1]", "3", "{", "no JSON", b"\x93NUMPY"])
def test_a_file_of_somebody_else_is_left_alone(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert find_document(path) is None
    with pytest.raises(RunError, match="not a SplitDocument"):
        SplitDocument.read(path)


def test_a_document_that_is_not_whole_is_told(tmp_path: Path) -> None:
    (tmp_path / "document").write_text('{"kind": "verdict"}')
    with pytest.raises(RunError, match="not a whole document") as caught:
        find_document(tmp_path / "document")
    assert "verdict.verdict" in caught.value.received


def test_a_document_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        VerdictDocument.read(tmp_path / "document")


def test_a_document_that_cannot_be_written_leaves_nothing(documents: dict, tmp_path: Path) -> None:
    (tmp_path / "document").mkdir()  # a folder is where the file has to go
    with pytest.raises(ResourceError, match="Cannot write"):
        documents["gate"][0].write(tmp_path / "document")
    assert [path.name for path in tmp_path.iterdir()] == ["document"]
