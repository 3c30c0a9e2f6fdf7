"""What is run over random graphs: every pass with its defaults, the common goals, pairs in any order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """A spec, its target, and how far it may move the outputs.

    ``bound`` is the share of an output's energy that may always be lost, None where any loss will do;
    beyond it, losses are measured against noise of the relative size ``noise`` on weights and inputs.
    """

    text: str
    exact: bool = False
    target: str = ""
    bound: float | None = None
    noise: float = 2**-7
    keeps_signature: bool = True

    @property
    def ranges(self) -> bool:
        """Whether the result depends on ranges that are measured on the calibration samples."""
        return any(name == "quant" for name in self.text.split(","))

    def __str__(self) -> str:
        return f"{self.text}@{self.target}" if self.target else self.text


SPECS: tuple[Spec, ...] = (
    Spec("clean,fold-bn", exact=True),
    Spec("prune", bound=0.5),
    Spec("quant", bound=0.1),
    Spec("prune:ratio=0.5"),
    Spec("lowrank:energy=0.99", bound=0.5),
    Spec("cast", bound=1e-3, noise=2**-10),
    Spec("sparsify"),
    Spec("quant:mode=dynamic", bound=0.1),
    Spec("clean,fold-bn", exact=True),
    Spec("prune,quant", bound=0.5),
    Spec("quant:mode=weights", bound=0.1),
    Spec("lowrank:macs=0.7"),
    Spec("quant", target="tensorrt", bound=0.1),
    Spec("prune:macs=0.6"),
    Spec("quant:mode=weights:bits=4"),
    Spec("lowrank,quant"),
    Spec("quant", target="openvino", bound=0.1),
    Spec("lowrank"),
    Spec("cast:io=true", bound=1e-3, noise=2**-10, keeps_signature=False),
    Spec("quant", target="qnn", bound=0.1),
    Spec("quant,prune:ratio=0.3"),
    Spec("prune:ratio=0.3,lowrank:energy=0.9"),
    Spec("sparsify,quant"),
    Spec("lowrank:energy=0.9,prune:ratio=0.3"),
    Spec("cast,quant"),
    Spec("prune:ratio=0.3,cast"),
    Spec("quant,sparsify"),
    Spec("sparsify:ratio=0.3,prune:ratio=0.3"),
    Spec("quant,lowrank:energy=0.9"),
    Spec("sparsify:pattern=2of4,cast"),
    Spec("quant,quant"),
)


def by_seed(seed: int) -> Spec:
    """The spec that a seed is run with when none is asked for: they go by turns."""
    return SPECS[seed % len(SPECS)]


def read(text: str) -> Spec:
    """The spec that is written so; one that is not listed may lose anything."""
    for spec in SPECS:
        if str(spec) == text:
            return spec
    name, _, target = text.partition("@")
    return Spec(name, target=target)
