"""Channels through attention: what goes together, what stays and why; the masked twin every time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphopt.passes.prune import Prune
from tests.corpus.networks.attention import ATTENTIONS, block
from tests.passes.prune.oracle import Pruned, assert_twin, load, prune

HALF = Prune(ratio=0.5, round_to=1, importance="random")
EXACT = 1e-5
REFUSED = {  # without ranks of queries and keys, and a part of the reason
    "cross_covariance": "channels attend to each other",
    "rotary": "stands between it and the product",
    "normalised": "normalises over them",
}


def narrowed(name: str, unit: str) -> Pruned:
    return prune(load(block(ATTENTIONS[name])), replace(HALF, attention=unit))


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("unit", ["ranks", "heads", "none"])
def test_it_equals_its_masked_twin(name: str, unit: str) -> None:
    pruned = narrowed(name, unit)
    assert_twin(pruned, tolerance=EXACT)
    assert "fc1" in pruned.changed  # and without a word about attention there is something to compare


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name not in REFUSED])
def test_queries_keys_and_values_get_narrower(name: str) -> None:
    pruned = narrowed(name, "ranks")
    layers = {name for name in pruned.changed if name.endswith(("query", "key", "value"))}
    assert len(layers) == 3
    for item in pruned.plan.items:
        if item["group"] in layers and name != "one_head":  # of every head the same
            assert item["channels"] - item["left"] in (2, 3)
    assert "gets narrower with what it multiplies" in pruned.skipped["scores"]


@pytest.mark.parametrize("name", REFUSED)
def test_ranks_are_refused_with_a_reason(name: str) -> None:
    pruned = narrowed(name, "ranks")
    layers = [layer for layer in ("query", "key", "qkv") if layer in pruned.skipped]
    assert layers
    assert all(REFUSED[name] in pruned.skipped[layer] for layer in layers)


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name != "one_head"])
def test_whole_heads_go(name: str) -> None:
    pruned = narrowed(name, "heads")
    changed = pruned.changed
    key = "qkv" if "qkv" in changed else "value"
    before, after = (int(number) for number in changed[key].split(" output")[0].split(" -> "))
    assert after * 2 == before
    layers = [part for item in pruned.plan.items for part in item.get("narrowed", ())]
    removed = next(part["remove"] for part in layers if part["tensor"] == f"{key}.out")
    size = before // (12 if key == "qkv" else 4)
    heads = {number // size for number in removed}
    assert len(removed) == len(heads) * size


def test_nothing_of_it_goes_when_it_is_to_stay_whole() -> None:
    pruned = narrowed("timm", "none")
    assert "is to stay whole" in pruned.skipped["qkv"]


def test_the_cost_model_counts_products_of_activations() -> None:
    from graphopt.passes.prune.coupling.groups import find_cells
    from graphopt.passes.prune.selection.cost_model import CostModel
    from graphopt.passes.prune.selection.predict import Predictor

    pruned = narrowed("hugging_face", "ranks")
    predictor = Predictor(pruned.before, pruned.coupling)
    whole, left = predictor.size(pruned.coupling.keep_all()).macs, predictor.size(pruned.keep).macs
    assert left == Predictor(pruned.after, _coupled(pruned)).size(_coupled(pruned).keep_all()).macs
    cells = find_cells(pruned.coupling, 1)
    model = CostModel(pruned.coupling, cells, "macs", whole)
    widths = [int(pruned.keep[cell.classes].sum()) for cell in cells]
    assert model.of(widths) == pytest.approx(left / whole)


def _coupled(pruned: Pruned):  # type: ignore[no-untyped-def]
    from graphopt.passes.prune.coupling.coupling import couple
    from graphopt.passes.prune.coupling.facts import gather_facts
    from tests.passes.prune.oracle import context

    return couple(pruned.after, gather_facts(pruned.after, context(pruned.after)))
