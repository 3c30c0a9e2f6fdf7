"""Half precision: weights and activations in float16."""

from .cast import Cast

__all__ = ["Cast"]
