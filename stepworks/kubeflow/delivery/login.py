"""Where Kubeflow Pipelines is, and as whom to speak to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from stepworks.errors import ConfigurationError
from stepworks.settings_file import Setting, faults

IN_CLUSTER = "in-cluster"
"""Where a token is that stands for the pod's own."""

IN_CLUSTER_HOST = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
"""Where the API server of a default install is, from a pod."""

IN_CLUSTER_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105  # a path
"""Where a pod finds the token that is made for Kubeflow Pipelines; KF_PIPELINES_SA_TOKEN_PATH names another."""


class Login(Setting):
    """The API server, the namespace and the credentials.

    Attributes:
        host: The address, as people open the user interface, for example `https://kubeflow.example.com/pipeline`. It
            may be left out in a pod of the cluster.
        namespace: The profile's namespace where Kubeflow has several users; None where it has one.
        token_from: Where the bearer token is: `env:NAME` for an environment variable, `file:PATH` for a file that is
            read before each request (such tokens are rotated), `in-cluster` for the token of the pod's
            ServiceAccount. None for a server that asks for none, such as one behind `kubectl port-forward`. A token
            is never an argument, or a part of a file that is committed.
        ca_file: The certificate authority of the server, PEM.
    """

    host: str = Field(default=IN_CLUSTER_HOST, pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$")
    namespace: str | None = None
    token_from: str | None = Field(default=None, pattern=r"^(env:\w+|file:.+|in-cluster)$")
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "host" not in self.model_fields_set and self.token_from != IN_CLUSTER:
            raise ValueError("no host is given, nor KF_PIPELINES_ENDPOINT set; only a pod can do without (in-cluster)")
        return self

    @property
    def token_path(self) -> Path | None:
        """The file that the token is read from; None when it is in no file."""
        if self.token_from == IN_CLUSTER:
            return Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", IN_CLUSTER_TOKEN))
        kind, _, place = (self.token_from or "").partition(":")
        return Path(place) if kind == "file" else None

    def token(self) -> str | None:
        """The token of an environment variable; None when it is in none.

        Raises:
            ConfigurationError: The variable is not set.
        """
        kind, _, name = (self.token_from or "").partition(":")
        if kind != "env":
            return None
        token = os.environ.get(name, "").strip()
        if not _is_token(token):
            raise ConfigurationError(
                f"The environment variable {name} holds no token",
                received="another text" if token else "nothing",
                expected="a bearer token for Kubeflow Pipelines: one word, without Bearer in front",
                what_to_do=f"Set it, for example: export {name}=$(kubectl create token …)",
            )
        return token

    def check_token_file(self) -> None:
        """See that the file of the token is there and holds one.

        Raises:
            ConfigurationError: It does not.
        """
        path = self.token_path
        if path is None:
            return
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            token = ""
            received = f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'no text'}"
        else:
            received = "another text" if token else "an empty file"
        if not _is_token(token):
            raise ConfigurationError(
                f"There is no token in {path}",
                received=received,
                expected="a file that holds a bearer token: one word, without Bearer in front",
                what_to_do="Correct --token-from; in a pod, mount a ServiceAccount token for Kubeflow Pipelines.",
            )


_FORMS = {
    "host": "a host that is no address of the form https://kubeflow.example.com",
    "token_from": "a token_from that names no such place",
}
"""What is wrong with a value that is not to be shown."""


def _is_token(text: str) -> bool:
    return bool(text) and text.isprintable() and len(text.split()) == 1


def login_of(**given: str | Path | None) -> Login:
    """Make a login of what was given; None stands for what was not.

    Raises:
        ConfigurationError: A value is wrong, or the host is missing.
    """
    try:
        return Login.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        # The values are left out: a token may stand in the wrong place.
        told = [_FORMS.get(".".join(map(str, field)), message) for field, message in faults(error)]
        raise ConfigurationError(
            "The way to Kubeflow is wrong",
            received="; ".join(told),
            expected="--host http(s)://…; where a login is asked for, --token-from env:NAME, file:PATH or in-cluster",
            what_to_do="Without logins: kubectl port-forward -n kubeflow svc/ml-pipeline 8888, then "
            "--host http://localhost:8888",
        ) from error
