"""Rules about images, and about what is installed when a step starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from stepworks.kubeflow.ir.executor_model import Executor
from stepworks.kubeflow.ir.model import Task
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule

_PIP = re.compile(r"""\bpip3?\s+install\s+((?:'[^'\n]*'|"[^"\n]*"|[^\n;|&])*)""")
_VALUED = {
    "-c", "--constraint", "--extra-index-url", "-f", "--find-links", "-i", "--index-url", "--no-binary",
    "--only-binary", "--platform", "--python-version", "-r", "--requirement", "--root", "-t", "--target", "--timeout",
    "--trusted-host",
}  # fmt: skip
_PINNED = re.compile(r"===?\s*[^*\s]+$|\s@\s|^\.|/|\.whl$|\.tar\.gz$|\$|\{\{")
_BEFORE_PYTHON_3_9 = re.compile(r";\s*python_version\s*<\s*['\"\\\\]*3\.[0-9](?![0-9])")
"""A marker that kfp writes beside its own requirement; kfp 2 runs on no such Python."""

_LONGEST = 500
"""Characters of a requirement that are looked at; no version is longer."""

_LONGEST_LINE = 20_000
"""Characters after `pip install` that are looked at; splitting a line takes its square."""

_PYTHON_CODE = re.compile(r"^[ \t]*(?:import|from|def|class)\s", re.MULTILINE)


def _first_uses(context: Context) -> Iterator[tuple[Task, Executor, int]]:
    """Each image once: the first task and executor that use it, and how many executors do."""
    first: dict[str, tuple[Task, Executor]] = {}
    uses: dict[str, int] = {}
    for task, executor in context.containers:
        first.setdefault(executor.image, (task, executor))
        uses[executor.image] = uses.get(executor.image, 0) + 1
    for image, (task, executor) in first.items():
        if "{{" not in image:
            yield task, executor, uses[image]


def _at_image(task: Task, executor: Executor, message: str, uses: int) -> Found:
    others = f" ({uses} executors use it)" if uses > 1 else ""
    return Found(message + others, (*executor.location, "container", "image"), task.path, executor.image)


def _tag(image: str) -> str:
    """The tag of a reference without digest; empty when it has none. A registry's port is no tag."""
    return image.rpartition("/")[2].partition(":")[2]


@rule(
    "I01",
    Severity.ERROR,
    "An image has no tag, or the tag `latest`",
    why="The same pipeline runs other code from one day to the next, and the cache takes old results for new code.",
    do="Name a version of the image: a tag that is never moved, or a digest.",
)
def moving_image(context: Context) -> Iterator[Found]:
    """Every image has a tag other than `latest`, or a digest."""
    for task, executor, uses in _first_uses(context):
        if "@" not in executor.image and _tag(executor.image) in {"", "latest"}:
            what = "has the tag latest" if _tag(executor.image) else "has no tag, which means latest"
            yield _at_image(task, executor, f"The image {executor.image} {what}; a version was expected", uses)


@rule(
    "I02",
    Severity.INFO,
    "An image has no digest",
    why="A tag can be moved to other content, and KFP's cache knows only the tag.",
    do="Add the digest, `name:tag@sha256:…`, where the registry's tags can be moved.",
)
def image_without_digest(context: Context) -> Iterator[Found]:
    """A hint for images with a tag and without a digest."""
    for task, executor, uses in _first_uses(context):
        if "@" not in executor.image and _tag(executor.image) not in {"", "latest"}:
            yield _at_image(task, executor, f"The image {executor.image} has a tag and no digest", uses)


@rule(
    "I05",
    Severity.INFO,
    "An image is in the placeholder registry",
    why="No cluster can pull it: the registry stands for the one that you are to choose.",
    do="Push the images to your registry, and set your registry in the target's file, targets/<target>.yaml.",
    parameters=("placeholder_registries",),
)
def placeholder_registry(context: Context) -> Iterator[Found]:
    """A hint for images whose registry stands for another."""
    for task, executor, uses in _first_uses(context):
        registry = executor.image.partition("/")[0]
        if registry in context.limits.placeholder_registries:
            yield _at_image(task, executor, f"The image {executor.image} is in the placeholder registry", uses)


def _installs(context: Context) -> Iterator[tuple[Task, Executor, int, list[str]]]:
    """Each `pip install` in a command: the task, the executor, the command's index and the words after `install`."""
    known: dict[str, list[list[str]]] = {}
    for task, executor in context.containers:
        for index, text in enumerate((*executor.command, *executor.args)):
            if text not in known:
                known[text] = [_words(match) for match in _PIP.findall(text)] if _is_shell(text) else []
            for words in known[text]:
                yield task, executor, index, words


def _is_shell(text: str) -> bool:
    """Whether a text may be a shell's; the code of a step only speaks of pip."""
    return "install" in text and not _PYTHON_CODE.search(text)


def _words(text: str) -> list[str]:
    text = text[:_LONGEST_LINE]
    try:
        return shlex.split(text)
    except ValueError:  # a quote that another part of the command closes
        return text.split()


def _requirements(words: list[str]) -> list[str]:
    """The requirements among the words after `pip install`."""
    found = []
    options = iter(words)
    for word in options:
        if word in _VALUED:
            next(options, None)
        elif not word.startswith("-") and not _BEFORE_PYTHON_3_9.search(word):
            found.append(word)
    return found


def _at_command(executor: Executor, index: int) -> tuple[str | int, ...]:
    inside = len(executor.command)
    part = ("command", index) if index < inside else ("args", index - inside)
    return (*executor.location, "container", *part)


@rule(
    "I03",
    Severity.WARNING,
    "A step installs packages when it starts",
    why="Every start waits for the network, a GPU is paid for meanwhile, and a package index decides what runs.",
    do="Build an image that holds the packages; with kfp also set install_kfp_package=False.",
)
def runtime_install(context: Context) -> Iterator[Found]:
    """No command installs packages."""
    for label, (task, executor, index, names) in _by_executor(context).items():
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "") or "from a file"
        yield Found(
            f"The step installs packages when it starts: {shown}", _at_command(executor, index), task.path, label
        )


def _by_executor(context: Context) -> dict[str, tuple[Task, Executor, int, list[str]]]:
    """What each executor installs, at its first `pip install`."""
    found: dict[str, tuple[Task, Executor, int, list[str]]] = {}
    for task, executor, index, words in _installs(context):
        if _requirements(words) or {"-r", "--requirement"} & set(words):
            found.setdefault(executor.label, (task, executor, index, []))[3].extend(_requirements(words))
    return found


@rule(
    "I04",
    Severity.WARNING,
    "A step installs a package without a version",
    why="The newest version of the day is taken, so that a step which passed yesterday may fail today.",
    do="Pin the version with `==`, or better, build an image that holds the package.",
)
def unpinned_install(context: Context) -> Iterator[Found]:
    """Every requirement of a `pip install` is pinned with `==`, or is a file or an address."""
    for label, (task, executor, index, names) in _by_executor(context).items():
        unpinned = [name for name in names if not _PINNED.search(name.partition(";")[0][-_LONGEST:])]
        if unpinned:
            message = f"The step installs without an exact version: {', '.join(unpinned[:5])}"
            yield Found(message, _at_command(executor, index), task.path, label)


@rule(
    "I06",
    Severity.WARNING,
    "A step trusts a package host without a certificate",
    why="Whoever is between the pod and the host can put other code in its place.",
    do="Give the host a certificate that the image trusts; with kfp 2.17 set pip_trusted_hosts=[], since index "
    "addresses are trusted by default.",
)
def trusted_host(context: Context) -> Iterator[Found]:
    """No `pip install` has `--trusted-host`."""
    seen = set()
    for task, executor, index, words in _installs(context):
        if any(word.startswith("--trusted-host") for word in words) and executor.label not in seen:
            seen.add(executor.label)
            message = "The step installs packages with --trusted-host, which turns certificates off"
            yield Found(message, _at_command(executor, index), task.path, executor.label)
