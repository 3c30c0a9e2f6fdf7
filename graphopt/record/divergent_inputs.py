"""The inputs to which a result answers least like its original."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DivergentInput:
    """One input that a result answers otherwise than its original.

    ``snr_db`` is that of its worst output.  ``before`` and ``after`` are the classes that a classifier
    answers, ``label`` the right one where it is known.  ``image`` is a small PNG in base64 where the input is
    an image.
    """

    name: str
    snr_db: float
    before: int | None = None
    after: int | None = None
    label: int | None = None
    image: str = ""
