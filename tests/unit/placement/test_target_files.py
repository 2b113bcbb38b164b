"""Wrong target files: what is wrong is told with file, line and field, and nothing else escapes."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.placement.target import Target
from stepworks.settings_file import LARGEST_FILE

RIGHT = """\
name: here
images: {cpu: example/cpu:1}
placements:
  cpu-small:
    cpu: {request: "1", limit: "2"}
    memory: {request: 1Gi, limit: 2Gi}
    tolerations:
      - {key: a, value: b}
      - key: gpu
        operator: Exists
roles: {small: cpu-small}
claims:
  scratch:
    create: {size: 1Gi}
    mount_path: /mnt/scratch
    access_mode: ReadWriteOnce
"""


def read(folder: Path, text: str | bytes) -> Target:
    path = folder / "here.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Target.read(path)


def test_a_right_file_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, RIGHT).claim("scratch").create


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("    memory:", "    memry:", 6, "placements.cpu-small.memry: there is no field memry; did you mean memory?"),
        ("operator: Exists", "operater: Exists", 10, "did you mean operator?"),
        ("roles:", "rolls:", 11, "did you mean roles?"),
        ("name: here", "name: here\nzebra: 1", 2, "there is no field zebra; the fields are name, description"),
        ("limit: 2Gi", "limit: 1.5Gi", 6, "placements.cpu-small.memory: '1.5Gi' is not a memory quantity"),
        ("value: b}", "operator: Exists, value: b}", 8, "tolerations.0: a toleration with the operator Exists"),
        ("create: {size: 1Gi}", "create: {size: 1Gi, storage_class: ''}", 14, "claims.scratch.create.storage_class"),
        ("    access_mode: ReadWriteOnce\n", "", 13, "claims.scratch.access_mode: Field required"),
        ("small: cpu-small", "small: gpu", 11, "roles.small: the role small names the placement gpu"),
        ("scratch:", f"{'s' * 27}:", 13, "so its name has at most 26 characters"),
        ("scratch:", "Scratch:", 13, "claims.Scratch"),
        ("memory:", "cpu: {request: 1, limit: 1}\n    memory:", 6, "the key 'cpu' comes twice"),
        ("name: here", "name: !!python/object:os.system here", 1, "could not determine a constructor"),
        ("name: here", "name: here\ntraining: PyTorchJob", 2, "training: Input should be 'step' or 'TrainJob'"),
    ],
)
def test_a_fault_is_told_with_its_line_and_field(
    tmp_path: Path, before: str, after: str, line: int, message: str
) -> None:
    assert before in RIGHT
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, RIGHT.replace(before, after, 1))
    assert caught.value.exit_code == 2
    assert f"here.yaml:{line}: " in str(caught.value)
    assert message in str(caught.value)


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"here\.yaml:[23]: "):  # the two parsers of PyYAML differ by one
        read(tmp_path, RIGHT.replace("name: here", "name: ["))


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, RIGHT.replace("limit: 2Gi", "limit: much").replace("size: 1Gi", "size: much"))
    assert "here.yaml:6: " in str(caught.value)
    assert "here.yaml:14: " in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "5", "null"])
def test_what_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="is wrong"):
        read(tmp_path, text)


def test_what_cannot_be_a_target_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not YAML"):
        read(tmp_path, b"name: \xff\xfe")
    with pytest.raises(ConfigurationError, match="no target file"):
        read(tmp_path, "#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Target.read(tmp_path)
    with pytest.raises(NotFoundError):
        Target.read(tmp_path / "absent.yaml")


def test_a_bomb_of_aliases_and_a_deep_nest_are_refused_quickly(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(ConfigurationError):
        read(tmp_path, "\n".join([RIGHT, *levels]))
    with pytest.raises(ConfigurationError):
        read(tmp_path, "name: " + "[" * 50_000)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.tuples(st.integers(0, len(RIGHT)), st.integers(0, 12), st.text(max_size=8)).map(
            lambda cut: RIGHT[: cut[0]] + cut[2] + RIGHT[cut[0] + cut[1] :]
        ),
    )
)
def test_only_our_own_errors_escape(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    with contextlib.suppress(ConfigurationError):
        read(folder, text.encode("utf-8", "surrogatepass"))
