"""The rule about secrets: IR is kept in clear in a database and shown in the UI. A value is never shown here."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from stepworks.kubeflow.ir.source import Constant, JsonPath
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule

_SHAPES = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[opsru]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10}",
    "a Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    "a password in an address": r"\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@'\"{}$]{1,100}:[^/\s:@'\"{}$]{3,100}@",
}
_SHAPE = re.compile("|".join(f"(?P<s{index}>{shape})" for index, shape in enumerate(_SHAPES.values())))
_HINTS = ("AKIA", "ASIA", "gh", "glpat-", "hf_", "xox", "AIza", "sk-", "PRIVATE KEY", "eyJ", "://")
_PASSWORD = re.compile(r"(password|passwd|passphrase)$")
"""The end of a name whose value is a password, whatever it looks like: `password`, `PGPASSWORD`."""

_KEY = re.compile(r"(token|(api|access|private|secret|account)key)$")
"""The end of a name whose value is most often a secret: `ACCESS_TOKEN`, `api_key`."""

_OBJECT = re.compile(r"(secret|credentials?)$")
"""The end of a name whose value is a secret, or the name of a Secret of Kubernetes."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_OPAQUE = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_DIGEST = re.compile(r"[0-9a-f]{24,}|[0-9A-F]{24,}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ELSEWHERE = re.compile(r"\{\{[^}]{0,300}\}\}|\$\([^)]{1,300}\)|\$\{[^}]{1,300}\}|^\$[A-Z_][A-Z0-9_]*$")
"""What stands for a value that is elsewhere: `{{…}}`, `$(NAME)`, `${NAME}`, `$NAME`."""

_UNBROKEN = re.compile(r"[A-Za-z0-9]{16,}")
_OPTION = re.compile(r"(--?[A-Za-z][\w.-]*)=(\S+)")
_SHORTEST = 6
_LONGEST_SCANNED = 10_000
_LEAST_ENTROPY = 4.2
"""Bits a character. English words joined together have under 4, random letters and digits of 24 characters over 4.3."""


@rule(
    "X01",
    Severity.ERROR,
    "A value looks like a secret",
    why="IR is stored in clear in a database and in artifacts, and everybody who may see the run can read it.",
    do="Take the value from a Kubernetes Secret (kfp.kubernetes.use_secret_as_env), and change the secret: it has "
    "been in a file.",
)
def secret_value(context: Context) -> Iterator[Found]:
    """No environment variable, argument, constant or default looks like a secret by its name, form or randomness."""
    seen: dict[str, str] = {}
    for location, task, name, value in _values(context):
        if isinstance(value, str):
            if value not in seen:
                seen[value] = _known_shape(value)
            what = seen[value] or _by_name(name, value) or ("" if location[-2] == "command" else _by_entropy(value))
            if what:
                yield Found(
                    f"{_called(name)} looks like {what} (not shown, {len(value)} characters)", location, task, name
                )


def _values(context: Context) -> Iterator[tuple[JsonPath, str, str, Any]]:
    """Every value that a secret may be in: where it stands, the task, the name and the value."""
    for task, executor in context.containers:
        container = (*executor.location, "container")
        for index, (name, value) in enumerate(executor.env):
            yield (*container, "env", index, "value"), task.path, f"env {name}", value
        for key, texts in (("command", executor.command), ("args", executor.args)):
            for index in range(len(texts)):
                yield ((*container, key, index), task.path, *_named_argument(key, index, texts))
    for task in context.tasks:
        for each in task.inputs:
            if isinstance(each.source, Constant):
                yield from _leaves(
                    (*each.location, "runtimeValue", "constant"), task.path, each.name, each.source.value
                )
    for component in context.ir.components.values():
        for definition in component.inputs.values():
            location = (*definition.location, "defaultValue")
            yield from _leaves(location, "", f"{component.name}.{definition.name}", definition.default)


def _named_argument(key: str, index: int, texts: tuple[str, ...]) -> tuple[str, str]:
    """The name of an argument, from `--name=value` or from the option before it, and its value."""
    text, before = texts[index], texts[index - 1] if index else ""
    match = _OPTION.fullmatch(text)
    if match:
        return f"{key} {match[1]}", match[2]
    is_value = before.startswith("-") and not text.startswith("-")
    return f"{key} {before if is_value else index}", text


def _leaves(location: JsonPath, task: str, name: str, value: Any) -> Iterator[tuple[JsonPath, str, str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves((*location, key), task, key, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves((*location, index), task, name, inner)
    else:
        yield location, task, name, value


def _called(name: str) -> str:
    return f"The value of {name}"


def _known_shape(value: str) -> str:
    """What a part of a text is by its form; empty when nothing is known."""
    if not any(hint in value for hint in _HINTS):
        return ""
    match = _SHAPE.search(value)
    return list(_SHAPES)[int(str(match.lastgroup)[1:])] if match else ""


def _by_name(name: str, value: str) -> str:
    """What a value is by its name: `db_password`, `API_KEY`, and not `secret_name` or `max_tokens`."""
    if not _SHORTEST <= len(value) <= _LONGEST_SCANNED or _ELSEWHERE.search(value):
        return ""
    words = [word.lower() for word in _WORD.findall(name)]
    while words and words[-1].isdigit():  # PASSWORD_2
        words.pop()
    last, ending = "".join(words[-1:]), "".join(words[-2:])
    if _PASSWORD.search(last):
        return "a password"
    if re.search(r"\s|^[/.]|://", value):  # a sentence, a path or an address
        return ""
    mixed = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", "[0-9]")) > 1
    if last in {"pass", "pwd"}:
        return "a password" if mixed else ""
    is_key = bool(_KEY.search(ending))
    # A name of an object, `minio-secret`, is no secret; a mix of letters and digits is one.
    if (is_key or _OBJECT.search(last)) and mixed and not _is_name(value):
        return "a secret"
    return "a secret" if is_key and _UNBROKEN.fullmatch(value) else ""


def _is_name(value: str) -> bool:
    """Whether a value reads as the name of a Kubernetes object: words with hyphens, a number at most at the end."""
    return re.fullmatch(r"[a-z]+([-_.][a-z]+)*([-_.]?[0-9]{1,3})?", value) is not None


def _by_entropy(value: str) -> str:
    """Whether a text is one random word, and no digest, which is hexadecimal."""
    if not _OPAQUE.fullmatch(value) or len(value) > _LONGEST_SCANNED or _DIGEST.fullmatch(value):
        return ""
    if not all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", "[0-9]")):
        return ""
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return "a random key" if entropy >= _LEAST_ENTROPY else ""
