import socket
import time
from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, DeliveryError, NotFoundError
from stepworks.kubeflow.delivery import calls
from stepworks.kubeflow.delivery.calls import NoAnswerError
from stepworks.kubeflow.delivery.login import login_of
from stepworks.kubeflow.delivery.server import Kubeflow, connect
from tests.kfp_server import KfpServer, kfp_server


def test_an_unreachable_host_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigurationError) as error:
        connect(login_of(host=url))
    assert url in str(error.value)
    assert "refused" in str(error.value)
    assert "port-forward" in str(error.value)


def test_a_host_that_is_no_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match="Cannot reach"):
        connect(login_of(host="http://kubeflow.invalid"))


@pytest.mark.parametrize("host", ["kubeflow.example.com", "ftp://x", "http://", ""])
def test_a_host_without_protocol_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--host http\(s\)"):
        login_of(host=host)


def test_no_host_is_refused_but_in_a_pod() -> None:
    with pytest.raises(ConfigurationError, match="no host"):
        login_of()
    assert login_of(token_from="in-cluster").host.startswith("http://ml-pipeline.kubeflow")


@pytest.mark.parametrize("place", ["abc123", "file:", "env:", "env:A B"])
def test_a_token_is_not_an_argument_and_is_not_printed(place: str) -> None:
    with pytest.raises(ConfigurationError, match="token_from") as error:
        login_of(host="http://x", token_from=place)
    assert place not in str(error.value).replace("env:NAME, file:PATH", "")


def test_a_password_in_the_host_is_refused_and_not_printed() -> None:
    with pytest.raises(ConfigurationError, match="host") as error:
        login_of(host="http://user:hunter2@kubeflow.example.com")
    assert "hunter2" not in str(error.value)


def test_a_login_page_is_not_taken_for_kubeflow() -> None:
    with kfp_server(login_page=True) as kfp, pytest.raises(ConfigurationError, match=r"not .*Kubeflow Pipelines 2"):
        connect(login_of(host=kfp.url))


def test_several_users_need_a_namespace() -> None:
    with kfp_server(multi_user=True) as kfp:
        with pytest.raises(ConfigurationError, match="--namespace"):
            connect(login_of(host=kfp.url))
        assert connect(login_of(host=kfp.url, namespace="team-a")).namespace == "team-a"


def test_a_token_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "valid")
    with kfp_server(token="valid") as kfp:
        assert connect(login_of(host=kfp.url, token_from="env:A_TOKEN")).find_pipeline("x") is None
        monkeypatch.delenv("A_TOKEN")
        with pytest.raises(ConfigurationError, match="A_TOKEN holds no token"):
            connect(login_of(host=kfp.url, token_from="env:A_TOKEN"))


def test_an_expired_token_is_told_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "expired-one")
    with kfp_server(token="valid") as kfp, pytest.raises(ConfigurationError) as error:
        connect(login_of(host=kfp.url, token_from="env:A_TOKEN"))
    assert "401" in str(error.value)
    assert "expired-one" not in str(error.value)
    assert "new token" in error.value.what_to_do


def test_a_token_of_a_file_is_read_for_each_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    with kfp_server(token="first") as kfp:
        kubeflow = connect(login_of(host=kfp.url, token_from=f"file:{token}"))
        kfp.token = "second"
        with pytest.raises(ConfigurationError, match="401"):
            kubeflow.find_pipeline("x")
        token.write_text("second")
        assert kubeflow.find_pipeline("x") is None


@pytest.mark.parametrize("content", ["", "\n", "Bearer abc", "two words", "\x00"])
def test_a_file_that_holds_no_token_is_told(tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with kfp_server(token="abc") as kfp, pytest.raises(ConfigurationError, match="There is no token in"):
        connect(login_of(host=kfp.url, token_from=f"file:{token}"))


def test_a_wrong_path_of_the_host_says_what_to_do(kfp: KfpServer) -> None:
    with pytest.raises(NotFoundError) as error:
        connect(login_of(host=f"{kfp.url}/pipeline"))
    assert "the host and its path" in error.value.what_to_do


def test_the_token_of_a_pod_is_found_where_kfp_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    with kfp_server(token="of-the-pod") as kfp:
        with pytest.raises(ConfigurationError, match="no token"):
            connect(login_of(host=kfp.url, token_from="in-cluster"))
        token.write_text("of-the-pod")
        assert connect(login_of(host=kfp.url, token_from="in-cluster")).find_pipeline("x") is None


def test_a_missing_certificate_authority_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="certificate authority"):
        connect(login_of(host="https://127.0.0.1:1", ca_file=tmp_path / "ca.pem"))


@pytest.mark.parametrize("kind", ["503", "429", "500", "cut before", "cut after"])
def test_a_read_is_tried_again(kfp: KfpServer, kubeflow: Kubeflow, kind: str) -> None:
    kfp.create_pipeline({}, {"name": "rows"})
    kfp.fail("GET", "pipelines/names", kind, times=2)
    found = kubeflow.find_pipeline("rows")
    assert found is not None
    assert found.name == "rows"


def test_a_server_that_stays_down_is_told_after_some_tries(kfp: KfpServer, kubeflow: Kubeflow) -> None:
    kfp.fail("GET", "pipelines/names", "503", times=99)
    began = time.monotonic()
    with pytest.raises(NoAnswerError, match="503"):
        kubeflow.find_pipeline("rows")
    assert time.monotonic() - began < 30
    assert issubclass(NoAnswerError, DeliveryError)


def test_what_may_not_be_done_is_told_with_the_role(kfp: KfpServer, kubeflow: Kubeflow) -> None:
    kfp.fail("GET", "pipelines/names", "403")
    with pytest.raises(ConfigurationError, match="kubeflow-pipelines-edit"):
        kubeflow.find_pipeline("rows")


def test_a_run_that_is_not_there_is_told(kubeflow: Kubeflow) -> None:
    with pytest.raises(NotFoundError):
        kubeflow.run("nothing")


def test_all_pages_are_read(kfp: KfpServer, kubeflow: Kubeflow) -> None:
    pipeline = kfp.create_pipeline({}, {"name": "rows"})
    for number in range(250):
        kfp._add_version(pipeline["pipeline_id"], f"0.0.{number}", {}, {})
    assert len(list(kubeflow.versions(pipeline["pipeline_id"]))) == 250
    assert kubeflow.find_version(pipeline["pipeline_id"], "0.0.0") is not None


def test_a_write_whose_last_answer_is_lost_is_looked_for(kfp: KfpServer, kubeflow: Kubeflow) -> None:
    kfp.fail("POST", "^pipelines$", "503", times=calls.ATTEMPTS - 1)
    kfp.fail("POST", "^pipelines$", "cut after")
    made = calls.settle(lambda: kubeflow.create_pipeline("rows", ""), lambda: kubeflow.find_pipeline("rows"))
    assert made.name == "rows"
    assert len(kfp.pipelines) == 1
