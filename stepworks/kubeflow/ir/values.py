"""Where the value of an input comes from, and what a setting is that is a placeholder for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepworks.kubeflow.ir.model import ROOT, Input, Ir, Task
from stepworks.kubeflow.ir.placeholders import placeholder_input
from stepworks.kubeflow.ir.source import ComponentInput, Constant, Source
from stepworks.kubeflow.ir.tasks import given

_PODS_AT_ONCE = ("nodes", "parallelism", "parallel_trials")
"""Parameters of steps that make pods, which say how many of these there are at once; they multiply."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from, whichever inputs of dags it goes through.

    Attributes:
        holder: The path of the task in whose dag `source` is read; empty for the root's.
        source: What gives the value there. A ComponentInput is the item of `loop`, a parameter of the pipeline, or an
            input of the holder that it is not given.
        selector: What is taken out of the value on the way; empty for all of it.
        loop: The loop whose item it is; None when it is no item.
    """

    holder: str
    source: Source
    selector: str
    loop: Task | None


class Values:
    """Follows inputs and placeholders to the default of a pipeline's parameter or to a constant on the way.

    A run may give another value than the default; what a task gives is known to the run alone.
    """

    def __init__(self, ir: Ir) -> None:
        self._ir = ir
        self._tasks = {task.path: task for task in ir.tasks}
        self._given: dict[str, Mapping[str, Input]] = {}

    def origin(self, task: Task, source: Source, selector: str = "") -> Origin:
        """Follow a source, as it is read in the dag that a task is in, to where the value comes from."""
        holder = task.parent
        while isinstance(source, ComponentInput) and holder in self._tasks:
            above = self._tasks[holder]
            if above.iterator and above.iterator.item_input == source.name:
                return Origin(holder, source, selector, above)
            found = self._inputs(above).get(source.name)
            if found is None:
                break
            holder, source, selector = above.parent, found.source, found.selector + selector
        return Origin(holder, source, selector, None)

    def of_source(self, task: Task, source: Source, selector: str = "") -> object:
        """The value of a source that is read in the dag that a task is in; None when it is not known."""
        origin = self.origin(task, source, selector)
        if origin.selector or origin.loop:
            return None
        if isinstance(origin.source, Constant):
            return origin.source.value
        if isinstance(origin.source, ComponentInput):
            above = self._tasks.get(origin.holder)
            return self._default(above.component if above else ROOT, origin.source.name)
        return None

    def setting(self, task: Task, text: str) -> str:
        """What a setting of a task is; empty when it is a placeholder whose value is not known or no text."""
        name = placeholder_input(text)
        if not name:
            return text
        value = self.of_input(task, name)
        return value if isinstance(value, str) else ""

    def of_input(self, task: Task, name: str) -> object:
        """The value of a task's input; None when it is not known."""
        found = self._inputs(task).get(name)
        if found is None:
            return self._default(task.component, name)
        return self.of_source(task, found.source, found.selector)

    def is_of_run(self, task: Task, name: str) -> bool:
        """Whether a parameter of the pipeline gives a task's input, so that a run may give another value."""
        found = self._inputs(task).get(name)
        return found is not None and self.is_parameter(task, found.source)

    def is_parameter(self, task: Task, source: Source) -> bool:
        """Whether a source, as it is read in the dag that a task is in, is a parameter of the pipeline."""
        origin = self.origin(task, source)
        return isinstance(origin.source, ComponentInput) and not origin.holder and not origin.loop

    def is_given(self, task: Task, name: str) -> bool:
        """Whether a task's input is given something, known or not."""
        return name in self._inputs(task)

    def accelerator_count(self, task: Task) -> int | None:
        """The accelerators of a task, or of the pods that it makes, such as those of a training job.

        None when only the run decides, 0 for a task without one.
        """
        accelerator = task.executor.accelerator if task.executor else None
        if accelerator is None:
            pods = self._accelerator_of_pods(task)
            return self._times_pods(task, pods.get("count")) if pods else 0
        if accelerator.count is not None:
            return accelerator.count
        text = self.setting(task, accelerator.count_text)
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None

    def accelerator_type(self, task: Task) -> str:
        """The type of a task's accelerator, or of the pods that it makes.

        Empty for a task without one, the placeholder when it is not known.
        """
        accelerator = task.executor.accelerator if task.executor else None
        if accelerator is None:
            return str(self._accelerator_of_pods(task).get("resource", ""))
        return self.setting(task, accelerator.type) or accelerator.type

    def _accelerator_of_pods(self, task: Task) -> Mapping[str, object]:
        """The accelerator of the placement that a step is given for the pods that it makes; empty for none."""
        given: object = self.of_input(task, "placement")
        for name in ("placement", "accelerator"):
            given = given.get(name) if isinstance(given, Mapping) else None
        return given if isinstance(given, Mapping) else {}

    def pods_at_once(self, task: Task) -> int | None:
        """How many pods of one shape a step makes at once; None when only the run knows."""
        return self._times_pods(task, 1)

    def _times_pods(self, task: Task, count: object) -> int | None:
        """A number for each pod, times the pods that a step has at once; None when only the run knows these."""
        component = self._ir.components.get(task.component)
        names = [name for name in _PODS_AT_ONCE if component and name in component.inputs]
        factors = [count, *(self.of_input(task, name) for name in names)]
        total = 1
        for each in factors:
            if isinstance(each, bool) or not isinstance(each, int | float) or not 1 <= each < 1e9:
                return None
            total *= int(each)
        return total

    def _inputs(self, task: Task) -> Mapping[str, Input]:
        if task.path not in self._given:
            self._given[task.path] = given(task)
        return self._given[task.path]

    def _default(self, name: str, input_: str) -> object:
        component = self._ir.components.get(name)
        definition = component.inputs.get(input_) if component else None
        return definition.default if definition else None
