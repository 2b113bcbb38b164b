import inspect

import pytest

from stepworks import errors


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    words = (errors.__doc__ or "").replace("├──", " ").replace("└──", " ").replace("│", " ").split()
    names = {word for word in words if word.endswith("Error")}
    assert names == {name for name, _ in inspect.getmembers(errors, inspect.isclass) if name.endswith("Error")}


def test_a_message_has_a_line_for_each_part_that_is_given() -> None:
    error = errors.DataError("It broke", received="a", what_to_do="Mend it.")
    assert str(error) == "It broke\n  Received: a\n  What to do: Mend it."


@pytest.mark.parametrize(
    ("error", "exit_code"), [(errors.ParameterError, 2), (errors.NotFoundError, 2), (errors.ResourceError, 1)]
)
def test_the_exit_code_tells_a_mistake_from_a_failed_run(error: type[errors.StepworksError], exit_code: int) -> None:
    assert error("x").exit_code == exit_code
