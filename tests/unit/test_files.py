import os
from pathlib import Path

import pytest

from stepworks.errors import ResourceError
from stepworks.files import Tail, write_atomically


def test_a_file_is_written_whole_into_a_folder_that_is_made(tmp_path: Path) -> None:
    assert write_atomically(tmp_path / "a" / "b", b"new").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_another_user_can_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_place_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "file", b"old")
    with pytest.raises(ResourceError, match="Free space"):
        write_atomically(path / "below-a-file", b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_tail_gives_whole_lines_and_begins_anew_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("of an earlier attempt\n")
    tail = Tail(path)
    assert tail.lines() == []
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert tail.lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert tail.lines() == ["two"]
    path.write_text("again\n")
    assert tail.lines() == ["again"]
    path.unlink()
    assert tail.lines() == []


def test_a_tail_from_the_start_tells_what_is_not_a_line_yet_as_rest_and_no_half_letters(tmp_path: Path) -> None:
    path = tmp_path / "log"
    content = "eins\nzwölf\nnoch kei".encode()
    path.write_bytes(content[:8])  # in the middle of the ö
    tail = Tail(path, from_start=True)
    assert tail.lines() == ["eins"]
    path.write_bytes(content)
    assert tail.lines() == ["zwölf"]
    assert tail.rest() == "noch kei"
    assert tail.rest() == ""
