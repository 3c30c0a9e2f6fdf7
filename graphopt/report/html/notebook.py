"""A run as a few cards for a notebook: self-contained, with colours that fit a light and a dark page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from graphopt.report.html import summary

_BOX = (
    "display:inline-block;vertical-align:top;min-width:9em;margin:0 .6em .6em 0;padding:.6em .9em;"
    "border:1px solid rgba(128,128,128,.35);border-radius:.6em;line-height:1.35"
)
_TONES = {"good": "#2e9e5b", "bad": "#d64545"}
_MUTED = "opacity:.65;font-size:.85em"


def notebook_cards(document: Mapping[str, Any], missed: tuple[str, ...] = ()) -> str:
    """HTML with what a run won and what it cost: the headline cards of its report page."""
    boxes = Markup("").join(_card(card) for card in summary.cards(document))
    lines = Markup("").join(
        Markup('<div style="color:{}">GOAL MISSED: {}</div>').format(_TONES["bad"], text) for text in missed
    )
    head = Markup('<div style="margin-bottom:.5em"><b>{}</b> {}</div>').format(
        document["input"], escape(summary.in_short(document))
    )
    return str(Markup('<div style="font-family:sans-serif">{}{}{}</div>').format(head, boxes, lines))


def _card(card: Mapping[str, str]) -> Markup:
    colour = _TONES.get(card["tone"], "inherit")
    before = Markup('<span style="{}">{} &rarr; </span>').format(_MUTED, card["before"])
    return Markup(
        '<div style="{}"><div style="{}">{}</div>{}<b style="font-size:1.2em">{}</b>'
        '<div style="color:{};font-size:.85em">{}</div></div>'
    ).format(
        _BOX, _MUTED, card["title"], before if card["before"] else "", card["after"], colour, card["change"]
    )
