"""What a search is told, and how wrong values are refused."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from stepworks.errors import ConfigurationError, RunError
from stepworks.tuning.search_space import Parameter, typed_assignments
from stepworks.tuning.spec import tuning_spec

DOUBLE = {"type": "double", "minimum": 0.1, "maximum": 0.9}
INTEGER = {"type": "integer", "minimum": 1, "maximum": 9}
CHOICE = {"type": "choice", "values": ["adam", "sgd"]}


def spec_of(**changed: Any) -> Any:
    return tuning_spec(
        **({"space": {"a": DOUBLE, "b": INTEGER}, "objective": {"metric": "loss", "goal": "minimize"}} | changed)
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"space": {}}, "space"),
        ({"space": {"a": {**DOUBLE, "maximum": 0.1}}}, "there is nothing between them"),
        ({"space": {"a": {**DOUBLE, "minimum": 0, "scale": "log"}}}, "begins above zero"),
        ({"space": {"a": {**DOUBLE, "scale": "log", "step": 0.1}}}, "a step is for a linear scale"),
        ({"space": {"a": {**INTEGER, "scale": "log", "step": 2}}}, "a step is for a linear scale"),
        ({"space": {"a": {**INTEGER, "minimum": 0, "scale": "log"}}}, "begins above zero"),
        ({"space": {"a": {**DOUBLE, "maximum": float("inf")}}}, "finite"),
        ({"space": {"a": {**DOUBLE, "maximun": 1}}}, "did you mean maximum?"),
        ({"space": {"a": {"type": "float"}}}, "double"),
        ({"space": {"a": {"type": "choice", "values": ["x"]}}}, "at least 2"),
        ({"space": {"a": {"type": "choice", "values": ["x", 1]}}}, "different types"),
        ({"space": {"a": {"type": "choice", "values": ["x", "x"]}}}, "comes twice"),
        ({"space": {"a b": DOUBLE}}, "pattern"),
        ({"objective": {"metric": "loss", "goal": "min"}}, "minimize"),
        ({"objective": {"metric": "x", "goal": "minimize", "additional_metrics": ["x"]}}, "the objective's own metric"),
        ({"trials": 1}, "parallel_trials is 2 and trials is 1"),
        ({"algorithm": "anneal"}, "tpe"),
        ({"algorithm": "enas"}, "tpe"),
        ({"algorithm": "darts"}, "tpe"),
        ({"algorithm": "grid"}, "a grid has a step for each double, and a has none"),
        ({"algorithm": "cmaes", "space": {"a": DOUBLE}}, "there is one parameter"),
        ({"algorithm": "cmaes", "space": {"a": DOUBLE, "b": CHOICE}}, "b is a choice"),
        ({"algorithm": "hyperband"}, "r_l (the most of the resource that a trial is given), resource_name"),
        ({"algorithm": "hyperband", "algorithm_settings": {"r_l": 9, "resource_name": "c"}}, "not in the space"),
        (
            {"algorithm": "hyperband", "algorithm_settings": {"r_l": 27, "resource_name": "b"}},
            "the most that a trial gets of b: 27 is not a whole number from 1 to 9",
        ),
        ({"algorithm": "pbt"}, "ReadWriteMany"),
        ({"metrics_collector": {"kind": "Custom"}}, "StdOut"),
        ({"metrics_collector": {"kind": "File", "path": "figures"}}, "metrics_collector.path"),
        ({"metrics_collector": {"kind": "File", "port": 80}}, "has path, format, pattern, and port is given"),
        ({"metrics_collector": {"kind": "Push", "path": "/m"}}, "has no other field, and path is given"),
        ({"metrics_collector": {"pattern": "loss is (.*)"}}, "has not two groups"),
        ({"metrics_collector": {"pattern": "(loss"}}, "is no regular expression: missing )"),
        ({"metrics_collector": {"kind": "File", "format": "JSON", "pattern": "(a)=(b)"}}, "is for lines of TEXT"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_starts(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match="The search is not valid") as raised:
        spec_of(**changed)
    assert told in raised.value.received


def test_values_have_the_types_of_the_space_again() -> None:
    values = {"c": {"type": "choice", "values": [True, False]}, "d": {"type": "choice", "values": [0.5, 2]}}
    space: dict[str, Any] = {"a": DOUBLE, "b": INTEGER, "e": CHOICE, **values}
    adapter: Any = TypeAdapter(dict[str, Parameter])
    texts = {"a": "0.30000000000000004", "b": "7", "c": "false", "d": "2.0", "e": "sgd"}
    read = typed_assignments(adapter.validate_python(space), texts)
    assert read == {"a": 0.30000000000000004, "b": 7, "c": False, "d": 2, "e": "sgd"}
    assert [type(read[name]) for name in "abcde"] == [float, int, bool, int, str]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": "0.5"}, "the parameters are a"),
        ({"a": "0.5", "b": "7.5"}, "7.5 is not a whole number from 1 to 9"),
        ({"a": "0.95", "b": "7"}, "0.95 is outside of 0.1 to 0.9"),
        ({"a": "x", "b": "7"}, "could not convert"),
    ],
)
def test_values_that_are_not_of_the_space_are_told(given: dict[str, str], told: str) -> None:
    with pytest.raises(RunError, match="other parameters than the search space has") as raised:
        typed_assignments(spec_of().space, given)
    assert told in raised.value.received
