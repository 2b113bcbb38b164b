"""What a setting of a task is when it is a placeholder for an input."""

from __future__ import annotations

from stepworks.kubeflow.ir.executor_model import ComponentInput, Constant
from stepworks.kubeflow.ir.model import ROOT, Component, Ir, Task
from stepworks.kubeflow.ir.tasks import given

_BEFORE = "{{$.inputs.parameters['"
_AFTER = "']}}"


def placeholder_input(text: str) -> str:
    """The input that a setting stands for when it is one placeholder and nothing else; empty otherwise."""
    if text.startswith(_BEFORE) and text.endswith(_AFTER) and text.count("{{") == 1:
        return text[len(_BEFORE) : -len(_AFTER)]
    return ""


class Values:
    """Follows placeholders to the default of a pipeline's parameter or to a constant on the way.

    A run may give another value than the default; what a task gives is known to the run alone.
    """

    def __init__(self, ir: Ir) -> None:
        self._ir = ir
        self._tasks = {task.path: task for task in ir.tasks}

    def setting(self, task: Task, text: str) -> str:
        """What a setting of a task is; empty when it is a placeholder whose value is not known or no text."""
        name = placeholder_input(text)
        if not name:
            return text
        value = self.of_input(task, name)
        return value if isinstance(value, str) else ""

    def of_input(self, task: Task, name: str) -> object:
        """The value of a task's input; None when it is not known."""
        here: Task | None = task
        while here is not None:
            found = given(here).get(name)
            if found is None:
                return _default(self._ir.components.get(here.component), name)
            if isinstance(found.source, Constant):
                return found.source.value
            if not isinstance(found.source, ComponentInput):
                return None
            name, here = found.source.name, self._tasks.get(here.parent)
        return _default(self._ir.components[ROOT], name)

    def accelerator_count(self, task: Task) -> int | None:
        """The accelerators of a task; None when only the run decides, 0 for a task without one."""
        accelerator = task.executor.accelerator if task.executor else None
        if accelerator is None:
            return 0
        if accelerator.count is not None:
            return accelerator.count
        text = self.setting(task, accelerator.count_text)
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None

    def accelerator_type(self, task: Task) -> str:
        """The type of a task's accelerator; empty for a task without one, the placeholder when it is not known."""
        accelerator = task.executor.accelerator if task.executor else None
        if accelerator is None:
            return ""
        return self.setting(task, accelerator.type) or accelerator.type


def _default(component: Component | None, name: str) -> object:
    definition = component.inputs.get(name) if component else None
    return definition.default if definition else None
