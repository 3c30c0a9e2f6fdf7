"""Pages in a real browser: no complaint, tables that sort and filter, a graph that zooms, no attack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphopt.report.html import render_comparison, render_inspection, render_report, render_sensitivity

Document = dict[str, Any]
NAMES = "[...document.querySelectorAll('#table tbody tr:not([hidden]) .name')].map(e => e.textContent)"


def column(page: Any, key: str) -> list[str]:
    """The values of a column from top to bottom, as sorted by."""
    index = page.evaluate(
        "key => [...document.querySelectorAll('#table th')].findIndex(h => h.dataset.key === key)", key
    )
    return page.evaluate(
        "i => [...document.querySelectorAll('#table tbody tr')].map(r => r.cells[i].dataset.v)", index
    )


def test_sorting_and_filtering(tab: Any, tmp_path: Path, document: Callable[..., Document]) -> None:
    page = tab.show(tmp_path, render_report(document()))
    page.click("#table th[data-key=macs] button")
    assert [float(v) for v in column(page, "macs")] == sorted(map(float, column(page, "macs")), reverse=True)
    page.click("#table th[data-key=macs] button")
    assert [float(v) for v in column(page, "macs")] == sorted(map(float, column(page, "macs")))
    page.click("#table th[data-key=snr] button")
    ratios = column(page, "snr")
    assert ratios[-5:] == [""] * 5 and "" not in ratios[:-5]  # unknown comes last, either way
    page.click("#table th[data-key=name] button")
    assert page.evaluate(NAMES)[:3] == ["layer0", "layer1", "layer10"]
    page.fill("#find", "conv LAYER1")
    assert set(page.evaluate(NAMES)) == {"layer10", "layer12", "layer14", "layer16", "layer18"}
    assert page.inner_text("#count") == "5 of 24 layers"
    page.fill("#find", "")
    page.select_option("#decision", "prune")
    assert set(page.evaluate(NAMES)) == {f"layer{i}" for i in range(0, 24, 4)}
    page.select_option("#decision", "")
    page.check("#weighty")
    assert len(page.evaluate(NAMES)) == 12
    assert tab.complaints == []


def test_the_graph_zooms_colours_and_leads_to_rows(
    tab: Any, tmp_path: Path, document: Callable[..., Document]
) -> None:
    page = tab.show(tmp_path, render_report(document()))
    page.locator("#graph").scroll_into_view_if_needed()
    whole = page.get_attribute("#net", "viewBox")
    page.click("[data-zoom=in]")
    width = float(page.get_attribute("#net", "viewBox").split()[2])
    assert width < 0.7 * float(whole.split()[2])
    page.click("[data-zoom=fit]")
    assert page.get_attribute("#net", "viewBox") == whole
    page.click("[data-by=error]")
    assert page.get_attribute("#canvas", "data-by") == "error"
    page.locator('.n[data-row="4"]').dispatch_event("click")
    assert "layer4" in page.inner_text("#detail") and "64 -> 48" in page.inner_text("#detail")
    page.fill("#find", "nothing is called like this")
    page.click("#detail a")
    assert page.locator("#l4.here").is_visible()
    assert tab.complaints == []


def test_tabs_theme_and_width(tab: Any, tmp_path: Path, document: Callable[..., Document]) -> None:
    page = tab.show(tmp_path, render_report(document()))
    page.click("[data-tab=macs]")
    assert page.locator("[data-pane=macs]").is_visible() and page.locator("[data-pane=bytes]").is_hidden()
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing wider than a phone
    assert tab.complaints == []


def test_a_comparison_works_too(tab: Any, tmp_path: Path, document: Callable[..., Document]) -> None:
    page = tab.show(tmp_path, render_comparison([document(), document()], ["one", "two"]))
    page.fill("#find", "layer1")
    assert page.evaluate(NAMES) == ["layer12", "layer16"]
    page.click("#table th[data-key=r1] button")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []


def test_an_attack_does_nothing(tab: Any, tmp_path: Path, document: Callable[..., Document]) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    page = tab.show(tmp_path, render_report(document(name=evil)))
    page.locator('.n[data-row="4"]').dispatch_event("click")  # the script makes texts of names as well
    page.fill("#find", evil)
    assert "onerror" in page.text_content("#detail")  # which is not on the screen now
    assert page.title() != "1"
    assert page.locator("img").count() == 0
    assert tab.complaints == []


@pytest.mark.parametrize("layers", [1000])
def test_a_large_net_is_drawn_whole(
    tab: Any, tmp_path: Path, document: Callable[..., Document], layers: int
) -> None:
    page = tab.show(tmp_path, render_report(document(layers)))
    assert page.locator("#net .n").count() == layers
    page.fill("#find", "layer998")
    assert page.evaluate(NAMES) == ["layer998"]
    assert tab.complaints == []


def test_an_inspection_sorts_filters_and_colours(
    tab: Any, tmp_path: Path, inspection: Callable[..., Any]
) -> None:
    page = tab.show(tmp_path, render_inspection(inspection()))
    page.click("#table th[data-key=ms] button")
    times = column(page, "ms")
    known = [float(text) for text in times if text]
    assert known == sorted(known, reverse=True) and times[12:] == [""] * 12  # what is fused comes last
    page.select_option("#decision", "worth")
    assert set(page.evaluate(NAMES)) == {f"layer{i}" for i in range(0, 24, 4)}
    page.select_option("#decision", "")
    page.check("#weighty")
    assert len(page.evaluate(NAMES)) == 12
    page.locator("#graph").scroll_into_view_if_needed()
    colour = "document.querySelector('.n[data-row=\"22\"] rect')"
    before = page.evaluate(f"getComputedStyle({colour}).fill")
    assert before != page.evaluate("getComputedStyle(document.querySelector('.n[data-row=\"1\"] rect')).fill")
    page.click("[data-by=macs]")
    assert page.get_attribute("#canvas", "data-by") == "macs"
    assert page.locator(".legend[data-for=macs]").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator('.n[data-row="1"]').dispatch_event("click")
    assert "done within layer0" in page.inner_text("#detail")
    page.click("#detail a")
    assert page.locator("#l1.here").is_visible()
    assert tab.complaints == []


def test_an_inspection_without_times_leads_to_rows_too(
    tab: Any, tmp_path: Path, inspection: Callable[..., Any]
) -> None:
    evil = '<img src=x onerror="document.title=1">'
    page = tab.show(tmp_path, render_inspection(inspection(name=evil, timed=False)))
    page.locator('.n[data-row="4"]').dispatch_event("click")
    assert "onerror" in page.text_content("#detail")
    page.click("#detail a")
    assert page.locator("#l4.here").is_visible()
    assert page.title() != "1" and page.locator("img").count() == 0
    assert tab.complaints == []


def test_original_and_result_are_switched_and_the_chosen_node_stays(
    tab: Any, tmp_path: Path, matched: Callable[..., Document]
) -> None:
    page = tab.show(tmp_path, render_report(matched()))
    page.locator("#graph").scroll_into_view_if_needed()
    assert page.locator("#net .n").count() == 24
    page.locator('.n[data-row="8"]').dispatch_event("click")
    detail = page.text_content("#detail")
    for part in ("In the original", "In the result", "kernel_shape=3, 3", "kernel_shape=1, 1", "t8", "w8"):
        assert part in detail
    assert "-1 to 1, mean 0, std 0.5, 25 % zeros" in detail
    page.click("[data-side=result]")
    removed = [i for i in range(24) if i % 7 == 5]
    assert page.locator("#net .n").count() == 24 - len(removed)
    assert page.locator('.n.here[data-row="8"]').count() == 1  # the same node, where it stands now
    page.click("[data-side=original]")
    assert page.locator("#net .n").count() == 24
    assert tab.complaints == []


def test_blocks_fold_open_and_filter_the_table(
    tab: Any, tmp_path: Path, matched: Callable[..., Document]
) -> None:
    page = tab.show(tmp_path, render_report(matched()))
    page.click("[data-kind=blocks]")
    assert page.locator("#net .n.block").count() == 4 == page.locator("#net .n").count()
    page.locator('.n[data-row="b1"]').dispatch_event("click")
    page.get_by_text("Show its layers in the table").click()
    assert page.evaluate(NAMES) == [f"/net/block1/layer{i}" for i in range(6, 12)]
    page.get_by_text("Open this block").click()
    assert page.locator("#net .n").count() >= 7 and page.locator("#trail").is_visible()
    assert "net/block1" in page.inner_text("#trail")
    page.click("#trail button")
    assert page.locator("#net .n").count() == 4
    assert tab.complaints == []


def test_the_graph_goes_by_keyboard(tab: Any, tmp_path: Path, matched: Callable[..., Document]) -> None:
    page = tab.show(tmp_path, render_report(matched()))
    page.focus(".n[tabindex='0']")
    focused = "document.activeElement.dataset.row"
    assert page.evaluate(focused) == "0"
    page.keyboard.press("ArrowDown")
    down = page.evaluate(focused)
    assert down == "1" and page.locator(".n.here[data-row='1']").count() == 1
    assert page.locator("#detail").is_visible()
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "0"
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden()
    page.focus("#kinds [aria-selected=true]")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#canvas", "data-kind") == "blocks"
    page.focus(".n[tabindex='0']")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the second opens
    assert page.get_attribute("#canvas", "data-kind") == "b0"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert page.get_attribute("#canvas", "data-kind") == "blocks"
    assert page.locator(".n[tabindex='0']").count() == 1  # one stop for the Tab key
    assert tab.complaints == []


def test_no_page_has_a_serious_fault_of_access(
    tab: Any,
    tmp_path: Path,
    document: Callable[..., Document],
    matched: Callable[..., Document],
    inspection: Callable[..., Any],
    study: Callable[..., Any],
) -> None:
    pages = {
        "sensitivity": render_sensitivity(study()),
        "report": render_report(matched()),
        "comparison": render_comparison([document(), document()], ["one", "two"]),
        "inspection": render_inspection(inspection()),
    }
    for width in (390, 1280):
        tab.page.set_viewport_size({"width": width, "height": 800})
        for name, text in pages.items():
            tab.show(tmp_path, text)
            assert (name, tab.serious()) == (name, [])
    assert tab.complaints == []


def test_a_study_sorts_at_levels_that_were_measured(
    tab: Any, tmp_path: Path, study: Callable[..., Any]
) -> None:
    evil = '<img src=x onerror="document.title=1">'
    page = tab.show(tmp_path, render_sensitivity(study(name=evil)))
    names = "[...document.querySelectorAll('#bars .who')].map(e => e.textContent)"
    widths = "[...document.querySelectorAll('#bars .track i')].map(e => parseFloat(e.style.width))"
    levels = page.evaluate("[...document.querySelectorAll('#levels button')].map(e => e.textContent)")
    assert levels == ["the worst", "0.25", "0.5", "0.875"]
    assert page.evaluate(widths) == sorted(page.evaluate(widths), reverse=True)
    assert page.evaluate(names)[0] == f"{evil}6" and len(page.evaluate(names)) == 12
    page.click("#levels [data-level='0.875']")
    assert len(page.evaluate(names)) == 11  # one part has no such level
    page.focus("#levels [aria-selected=true]")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#shown") == "12 of 12 parts"
    page.select_option("#measure", "snr_db")
    assert page.evaluate(names)[0] == f"{evil}11"  # the lowest SQNR is the worst
    page.fill("#part", "r11 no")
    assert page.inner_text("#shown") == "0 of 12 parts"
    page.fill("#part", '=1">11')
    page.click("#bars summary")
    assert "MACs -11.1 %" in page.inner_text("#bars ul")
    assert page.title() != "1" and page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []
