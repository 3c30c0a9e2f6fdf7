"""Batch normalisation folded into the layers around it."""

from graphopt.passes.fold_bn.fold_bn import FoldBN

__all__ = ["FoldBN"]
