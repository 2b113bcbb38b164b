from collections.abc import Callable

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import Pipeline
from tests.unit.kubeflow.test_compile import target

PIPELINE = """
@pipeline(version="1.0.0")
def tiny():
    task = add(a=1, b=2)
    task{setting}
    place(task, "{role}")
"""


@pytest.mark.parametrize(
    ("setting", "role", "told"),
    [
        (".set_caching_options(False)", "small", "set_caching_options"),
        (".set_retry(7)", "training", "set_retry"),
        ('.set_cpu_limit("8")', "small", "set_cpu_limit"),
    ],
)
def test_what_the_placement_would_replace_in_silence_is_refused(
    make_pipeline: Callable[[str], Pipeline], setting: str, role: str, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        make_pipeline(PIPELINE.format(setting=setting, role=role)).build(target())


@pytest.mark.parametrize("setting", [".set_caching_options(False)", '.set_display_name("x")'])
def test_what_the_placement_says_too_or_nothing_of_is_kept(
    make_pipeline: Callable[[str], Pipeline], setting: str
) -> None:
    make_pipeline(PIPELINE.format(setting=setting, role="training")).build(target())
