import inspect
import re

import pytest

from stepworks import errors


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.search(r"\w+Error\b", line)
        if found and line.startswith("    "):
            above = [each for each in above if each[0] < found.start()]
            drawn[found[0]] = above[-1][1] if above else None
            above.append((found.start(), found[0]))
    classes = inspect.getmembers(errors, inspect.isclass)
    assert drawn == {
        name: parent.__name__ if (parent := cls.__bases__[0]) is not Exception else None
        for name, cls in classes
        if name.endswith("Error")
    }


def test_a_message_has_a_line_for_each_part_that_is_given() -> None:
    error = errors.DataError("It broke", received="a", what_to_do="Mend it.")
    assert str(error) == "It broke\n  Received: a\n  What to do: Mend it."


@pytest.mark.parametrize(
    ("error", "exit_code"), [(errors.ParameterError, 2), (errors.NotFoundError, 2), (errors.ResourceError, 1)]
)
def test_the_exit_code_tells_a_mistake_from_a_failed_run(error: type[errors.StepworksError], exit_code: int) -> None:
    assert error("x").exit_code == exit_code
