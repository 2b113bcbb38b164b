"""Which nodes a pod may, must or would rather run on, and how often it is tried."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stepworks.placement.names import LabelKey, LabelValue
from stepworks.settings_file import Setting

Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Toleration(Setting):
    """A taint that the pod puts up with.

    Attributes:
        key: The taint's key. Without it, and with the operator Exists, every taint is tolerated.
        operator: `Equal`: a taint of this key and value. `Exists`: a taint of this key, whatever its value.
        value: The taint's value, with Equal only.
        effect: The taint's effect; without it, any.
        toleration_seconds: After how long a running pod is evicted all the same; with the effect NoExecute only.
            Without it, never.
    """

    key: LabelKey | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Effect | None = None
    toleration_seconds: int | None = Field(default=None, ge=0, strict=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(f"a toleration with the operator Exists has no value, and this one has {self.value!r}")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("a toleration without a key tolerates every taint, so its operator must be Exists")
        if self.operator == "Equal" and self.value is None:
            raise ValueError("a toleration with the operator Equal needs a value; to tolerate any, use Exists")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError(
                f"toleration_seconds is {self.toleration_seconds}, which means something with the effect NoExecute "
                f"only, and the effect is {self.effect}"
            )
        return self

    def admits(self, keys: frozenset[str]) -> bool:
        """Whether it lets a pod onto a node with a taint of one of these keys and the effect NoSchedule."""
        return (self.key is None or self.key in keys) and self.effect in (None, "NoSchedule")


class MatchExpression(Setting):
    """A condition on a label of the node.

    Attributes:
        key: The label.
        operator: `In` and `NotIn` compare with `values`; `Exists` and `DoesNotExist` have none; `Gt` and `Lt` compare
            with the one whole number in `values`.
        values: What to compare with.
    """

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[LabelValue, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        count = len(self.values)
        if self.operator in ("In", "NotIn") and not count:
            raise ValueError(f"the operator {self.operator} needs values, and {self.key} has none")
        if self.operator in ("Exists", "DoesNotExist") and count:
            raise ValueError(f"the operator {self.operator} has no values, and {self.key} has {count}")
        if self.operator in ("Gt", "Lt") and not (count == 1 and self.values[0].isdecimal()):
            raise ValueError(f"the operator {self.operator} needs one whole number, and {self.key} has {self.values}")
        return self


class NodeTerm(Setting):
    """Conditions that hold together: all of them."""

    match_expressions: tuple[MatchExpression, ...] = Field(min_length=1)


class PreferredNodeTerm(NodeTerm):
    """Conditions that the scheduler rather sees met; `weight`, 1 to 100, says how much it matters."""

    weight: int = Field(ge=1, le=100, strict=True)


def toleration_object(toleration: Toleration) -> dict[str, Any]:
    """A toleration as Kubernetes' JSON has it, without what is not set."""
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.toleration_seconds,
    }
    return {name: value for name, value in fields.items() if value is not None}


def node_term_object(term: NodeTerm) -> dict[str, Any]:
    """A term as Kubernetes' JSON has it, without its weight."""
    return {
        "matchExpressions": [
            {"key": each.key, "operator": each.operator, **({"values": list(each.values)} if each.values else {})}
            for each in term.match_expressions
        ]
    }


class NodeAffinity(Setting):
    """Which nodes a pod must and would rather run on, beyond what a node selector can say.

    Attributes:
        required: A node must meet one of these terms.
        preferred: Among those, the nodes with the highest sum of weights come first.
    """

    required: tuple[NodeTerm, ...] = ()
    preferred: tuple[PreferredNodeTerm, ...] = ()


class Retry(Setting):
    """How often a failed task is tried again, and how long it waits before.

    Attributes:
        count: How often, 1 to 20.
        backoff_seconds: The first wait.
        factor: Each wait is this many times the one before.
        maximum_seconds: The longest wait.
    """

    count: int = Field(ge=1, le=20, strict=True)
    backoff_seconds: int = Field(default=30, ge=1, strict=True)
    factor: float = Field(default=2.0, ge=1.0)
    maximum_seconds: int = Field(default=600, ge=1, strict=True)
