"""Elements of HTML and SVG as escaped text: names in a model are never trusted."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """One element: ``class_`` stands for class, ``_`` for ``-``; those that are None are left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")


def svg(
    width: float,
    height: float,
    *children: Any,
    label: str,
    fixed: bool = False,
    role: str = "img",
    **attributes: Any,
) -> Markup:
    """A drawing of ``width`` x ``height`` units; ``label`` is read aloud.

    It scales with the page unless it is ``fixed``.  ``role`` is ``group`` where parts of it can be chosen.
    """
    box = f"0 0 {_short(width)} {_short(height)}"
    if fixed:
        attributes |= {"width": width, "height": height}
    return tag("svg", *children, viewBox=box, role=role, aria_label=label, **attributes)


def text(x: float, y: float, content: Any, class_: str = "", anchor: str | None = None) -> Markup:
    """A line of text in a drawing; ``anchor`` is start, middle or end."""
    return tag("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def path(points: Any, class_: str) -> Markup:
    """A line through (x, y) points; a None among them breaks it."""
    steps, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        steps.append(f"{pen}{_short(point[0])} {_short(point[1])}")
        pen = "L"
    return tag("path", d="".join(steps), class_=class_)


def _short(value: Any) -> Any:
    """A coordinate with a tenth of a unit is sharp enough."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
