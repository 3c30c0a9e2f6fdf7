"""The page of a front shows every point, its trial and its command, and names on it do nothing."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

from graphopt.report.html import render_front
from tests.report.html.elements import EVIL, Elements


def test_every_point_is_there_with_what_changed(front: Callable[..., Any]) -> None:
    text = unescape(render_front(front()))
    for number in range(1, 5):
        assert f'id="p{number:02}"' in text and f'data-point="{number:02}"' in text
        assert f"layer{number - 1}</code> 64 -> 48 output channels" in text
    assert text.count("beaten in all by another") == 1
    assert text.count('class="tried"') == 4
    assert "the time limit ended the search" in text
    assert "prune alone" in text and "quant alone" not in text


def test_names_and_commands_do_not_act(front: Callable[..., Any]) -> None:
    plain = Elements(render_front(front())).tags
    assert Elements(render_front(front(name=EVIL))).tags == plain
    assert Elements(render_front(front(command=EVIL))).tags == plain


def test_a_point_shows_what_changed_by_mouse_and_keyboard(
    tab: Any, tmp_path: Path, front: Callable[..., Any]
) -> None:
    page = tab.show(tmp_path, render_front(front()))
    assert page.locator("#chosen").is_hidden()
    page.locator('#front-plot a[data-point="02"] circle').hover()
    assert "Point 02" in page.inner_text("#chosen")
    page.locator('#front-plot a[data-point="04"]').focus()
    assert "Point 04" in page.inner_text("#chosen")
    page.keyboard.press("Enter")
    assert page.locator("#p04").get_attribute("open") is not None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.serious() == []
    assert tab.complaints == []
