import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.kinds.names import check_name


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Job", "a" * 63),
        ("Pod", "a.b-c.1"),
        ("ConfigMap", "a" * 253),
        ("CronJob", "a" * 52),
        ("TrainJob", "train-1"),
        ("InferenceService", "a" * 53),
        ("Role", "system:controller:job"),
    ],
)
def test_names_that_kubernetes_takes(kind: str, name: str) -> None:
    assert check_name(kind, name) == name


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("Job", "a" * 64, "up to 63 characters"),
        ("CronJob", "a" * 53, "up to 52 characters"),
        ("InferenceService", "a" * 54, "its Service is named NAME-predictor"),
        ("Experiment", "a" * 41, "up to 40 characters"),
        ("TrainJob", "1-train", "a letter at the beginning"),
        ("Pod", "Train", "lower-case letters"),
        ("Pod", "a..b", "at both ends of each part"),
        ("Pod", "a-", "at both ends"),
        ("Namespace", "a.b", "lower-case letters, digits and dashes"),
        ("Role", "a/b", "without a slash"),
        ("Role", "..", "without a slash"),
        ("Pod", "", "up to 253 characters"),
    ],
)
def test_names_that_kubernetes_refuses(kind: str, name: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_name(kind, name)
    assert expected in caught.value.expected
    assert kind in caught.value.problem
