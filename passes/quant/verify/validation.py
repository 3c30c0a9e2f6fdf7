"""Hold a quantized model against the rules of its target before it is written."""

from __future__ import annotations

from graphopt.errors import PassError
from graphopt.ir import Model
from graphopt.passes.quant.verify.validator import violations
from graphopt.targets import Target


def refuse_violations(model: Model, target: Target) -> None:
    """Raise PassError, naming the node, for what the target's backend refuses."""
    broken = violations(model, target)
    if not broken:
        return
    more = f" ({len(broken) - 1} more like this)" if len(broken) > 1 else ""
    raise PassError(
        f"{target.runtime} refuses {broken[0].node}: {broken[0].reason}{more}",
        hint=f"change the plan or the options, or choose another target than {target.name}",
        pass_name="quant",
        node=broken[0].node,
    )
