"""The table of kinds: what holds of every row, so that a new one leaves nothing out."""

import pytest

from stepworks.kube.kinds.table import KINDS, Kind, kind_of

WORKLOADS = [each for each in KINDS if each.made_by_runs and each.descent]
IDS = [each.kind for each in WORKLOADS]


@pytest.mark.parametrize("known", WORKLOADS, ids=IDS)
def test_what_runs_make_that_has_pods_is_waited_for_and_can_be_let_go_of(known: Kind) -> None:
    assert known.until is not None
    assert known.suspension is not None or known.kind == "Experiment"  # Katib cannot suspend one: it is deleted


@pytest.mark.parametrize("known", [each for each in KINDS if each.suspension], ids=lambda each: each.kind)
def test_what_holds_pods_is_found_again_and_deleted_with_its_run(known: Kind) -> None:
    assert known in WORKLOADS


def test_each_kind_has_one_row() -> None:
    names = [each.kind for each in KINDS]
    assert len(set(names)) == len(names)


def test_a_kind_is_known_in_every_version_of_its_group() -> None:
    known = kind_of({"apiVersion": "trainer.kubeflow.org/v2", "kind": "TrainJob"})
    assert known is not None
    assert known.api_version == "trainer.kubeflow.org/v1alpha1"
    assert kind_of({"apiVersion": "example.com/v1", "kind": "TrainJob"}) is None


def test_jobs_of_the_training_operator_are_all_alike() -> None:
    jobs = [each for each in KINDS if each.api_version == "kubeflow.org/v1"]
    assert {each.kind for each in jobs} == {"PyTorchJob", "TFJob", "MPIJob", "XGBoostJob", "JAXJob"}
    assert len({(each.until, each.descent) for each in jobs}) == 1
