"""A user's own graphsurgeon code as a pass."""

from .surgeon import Surgeon

__all__ = ["Surgeon"]
