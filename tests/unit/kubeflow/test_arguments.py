import datetime
from collections.abc import Callable
from typing import Any

import pytest

from stepworks.errors import ParameterError
from stepworks.kubeflow.arguments import Declared, check_arguments, declared_by, parse_arguments
from stepworks.kubeflow.pipeline import Pipeline

PIPELINE = """
@pipeline(version="1.0.0")
def tiny(needed: str, n: int = 1, rate: float = 0.5, quick: bool = False, names: list[str] = [], settings: dict = {}):
    \"\"\"Take one of each kind.\"\"\"
    place(add(a=n, b=1), "small")
"""


@pytest.fixture
def tiny(make_pipeline: Callable[[str], Pipeline]) -> Pipeline:
    return make_pipeline(PIPELINE)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("n=3", 3),
        ("rate=1e-3", 0.001),
        ("rate=2", 2.0),
        ("quick=true", True),
        ("quick=No", False),
        ('names=["a", "b"]', ["a", "b"]),
        ('settings={"a": 1}', {"a": 1}),
        ("needed=a=b", "a=b"),
        ("needed=", ""),
    ],
)
def test_a_value_has_the_type_of_its_parameter(tiny: Pipeline, assignment: str, value: Any) -> None:
    needed = [] if assignment.startswith("needed=") else ["needed=x"]
    arguments = parse_arguments(tiny.name, declared_by(tiny), [*needed, assignment])
    assert arguments[assignment.partition("=")[0]] == value
    assert type(arguments[assignment.partition("=")[0]]) is type(value)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["needed=x", "n"], "name=value"),
        (["needed=x", "epochs=3"], "no parameter epochs"),
        (["needed=x", "n=three"], "n has a value of the wrong type"),
        (["needed=x", "n=1.5"], "Expected: int"),
        (["needed=x", "rate=nan"], "a finite number"),
        (["needed=x", "rate=-inf"], "a finite number"),
        (["needed=x", "n=1", "n=2"], "given twice"),
        (["needed=x", "=3"], "name=value"),
        (["needed=x", "quick=perhaps"], "Expected: bool"),
        (["needed=x", "names={}"], "Expected: list in JSON"),
        (["needed=x", "settings=[1"], "Expected: dict in JSON"),
        ([], "Expected: needed"),
    ],
)
def test_a_wrong_assignment_is_told(tiny: Pipeline, assignments: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_arguments(tiny.name, declared_by(tiny), assignments)


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 1), float("nan"), {"a": {1}}])
def test_what_is_no_json_is_refused_at_any_depth(value: object) -> None:
    declared = {"days": Declared(list, required=True)}
    check_arguments("tiny", declared, {"days": [1, {"a": [True, None, "x"]}]})
    with pytest.raises(ParameterError, match="days"):
        check_arguments("tiny", declared, {"days": [[value]]})
