"""Half precision: weights and activations in float16.

- ``cast``: The pass: find what cannot be in float16, convert the rest, and put casts at the borders.
- ``rules``: What cannot be in float16.
- ``surgery``: Surgery: float16 everywhere but in the nodes that are kept, which stand between casts.
- ``types``: The element types of the main graph's tensors: from inference, and from onnxruntime where that
  ends.
"""

from .cast import Cast

__all__ = ["Cast"]
