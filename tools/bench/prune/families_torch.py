"""Prune one torchvision network with Torch-Pruning; runs in the environment that has both.

``python families_torch.py NAME RATIO`` prints one line of JSON: convolutions narrowed of those that do
not make the outputs, parameters left, and the difference from the original whose removed columns are zero.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import families_export as families
import torch

LAYERS = (torch.nn.Conv2d, torch.nn.Linear)


def prune(name: str, ratio: float) -> dict[str, Any]:
    """Prune uniformly by random importance, as its documentation shows."""
    import torch_pruning as tp

    net, x = families.network(name)
    twin = copy.deepcopy(net)
    columns = dict(twin.named_modules())
    names = {module: name for name, module in net.named_modules()}
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    before = {module: module.out_channels for module in convs}
    parameters = sum(p.numel() for p in net.parameters())
    ends = families.output_modules(net)
    pruner = tp.pruner.BasePruner(
        net, x, tp.importance.RandomImportance(), pruning_ratio=ratio, ignored_layers=ends
    )
    judged = True
    for group in pruner.step(interactive=True):
        for dependency, indices in group:
            module = dependency.target.module
            if dependency.handler.__name__ == "prune_in_channels" and isinstance(module, LAYERS):
                judged &= _mask(columns[names[module]], indices)
        group.prune()
    with torch.no_grad():
        wanted, found = twin(x), net(x)
    inner = [module for module in convs if module not in ends]
    return {
        "convs": len(inner),
        "narrowed_convs": sum(module.out_channels < before[module] for module in inner),
        "parameters_left": sum(p.numel() for p in net.parameters()) / parameters,
        "twin": float((wanted - found).abs().max() / wanted.abs().max()) if judged else None,
    }


def _mask(module: torch.nn.Module, indices: list[int]) -> bool:
    """Zero the columns that are going to be removed; False where groups make that ambiguous."""
    if getattr(module, "groups", 1) != 1:
        return False
    module.weight.data[:, indices] = 0
    return True


def main() -> None:
    """Prune the network named on the command line; a failure is a line of JSON too."""
    name, ratio = sys.argv[1], float(sys.argv[2])
    held = families.without_kernels()
    try:
        found = prune(name, ratio)
    except Exception as error:  # whatever it is, it is the result of this network
        found = {"failure": f"{type(error).__name__}: {error}"}
    del held
    print(json.dumps(found))


if __name__ == "__main__":
    main()
