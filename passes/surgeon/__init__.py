"""A user's own graphsurgeon code as a pass.

- ``changes``: What the user's code did to a model: which nodes it added, removed and edited, by identity.
- ``surgeon``: Run a user's own graphsurgeon code as one step of a run.
- ``userfile``: A function in a file that the user named: found, loaded, called, and its errors put into a
  sentence.
"""

from .surgeon import Surgeon

__all__ = ["Surgeon"]
