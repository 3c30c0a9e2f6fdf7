from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.data import PRESETS, Preprocess, parse_preprocess
from graphopt.data.preprocess.config import COLORS, INTERPOLATIONS, LAYOUTS
from graphopt.errors import UsageError

SIDES = st.integers(1, 4000)
SIZES = st.tuples(SIDES, SIDES)
FINITE = st.floats(-1e6, 1e6, allow_nan=False)
NONZERO = FINITE.filter(lambda value: value != 0)
SCALINGS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"resize": SIDES}),
    st.fixed_dictionaries({"size": st.one_of(SIZES, st.just("model"))}),
    st.fixed_dictionaries({"letterbox": st.one_of(SIZES, st.just("model")), "pad": st.integers(0, 255)}),
    st.fixed_dictionaries({"height": SIDES, "width": st.one_of(SIDES, st.just("keep"))}),
    st.fixed_dictionaries({"longest": SIDES, "multiple": SIDES}),
)
OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "crop": SIZES,
        "interpolation": st.sampled_from(INTERPOLATIONS),
        "color": st.sampled_from(COLORS),
        "layout": st.sampled_from(LAYOUTS),
        "scale": NONZERO,
        "mean": st.one_of(st.tuples(FINITE), st.tuples(FINITE, FINITE, FINITE)),
        "std": st.one_of(st.tuples(NONZERO), st.tuples(NONZERO, NONZERO, NONZERO)),
    },
)


@given(SCALINGS, OTHERS)
def test_print_and_parse_round_trip(scaling: dict[str, object], others: dict[str, object]) -> None:
    recipe = Preprocess(**scaling, **others)  # type: ignore[arg-type]
    assert parse_preprocess(str(recipe)) == recipe
    json.dumps(recipe.as_dict())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_parse_and_round_trip(name: str) -> None:
    recipe = parse_preprocess(name)
    assert recipe.has_geometry and recipe.has_values
    assert parse_preprocess(str(recipe)) == recipe


def test_the_contracts_example() -> None:
    recipe = parse_preprocess("size=224;mean=127;std=128")
    assert recipe == Preprocess(size=(224, 224), mean=(127.0,), std=(128.0,))
    assert recipe.scale == 1.0


def test_an_override_replaces_the_presets_scaling_and_keeps_its_values() -> None:
    recipe = parse_preprocess("imagenet;size=299")
    assert (recipe.size, recipe.resize, recipe.crop) == ((299, 299), None, None)
    assert recipe.mean == (0.485, 0.456, 0.406) and recipe.scale == 1 / 255
    assert parse_preprocess("imagenet;crop=240").resize == 256
    assert parse_preprocess("imagenet;resize=342").crop == (224, 224)
    assert parse_preprocess("yolo;size=320").letterbox is None
    assert parse_preprocess("ppocr-rec;height=32").width == "keep"


def test_sizes_are_height_by_width() -> None:
    assert parse_preprocess("size=480x640").size == (480, 640)
    assert parse_preprocess("resize=480x640") == Preprocess(size=(480, 640))
    assert parse_preprocess("interpolation=area").interpolation == "box"


def test_toml_has_the_same_keys(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('preset = "imagenet"\nsize = [480, 640]\nscale = "1/255"\nmean = [0.5, 0.5, 0.5]\n')
    assert parse_preprocess(path) == parse_preprocess("imagenet;size=480x640;mean=.5,.5,.5")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sise=224", "size"),
        ("imagnet", "imagenet"),
        ("interpolation=bicube", "bicubic"),
        ("size=0", "pixels"),
        ("size=-3", "pixels"),
        ("size=1x2x3", "pixels"),
        ("std=0", "other than 0"),
        ("std=1,0,1", "other than 0"),
        ("mean=a", "number"),
        ("scale=1/0", "number"),
        ("scale=nan", "number"),
        ("color=hsv", "rgb"),
        ("width=wide;height=3", "whole number"),
        ("height=48", "width=keep"),
        ("size=3;letterbox=4", "keep one"),
        ("size=3;size=4", "keep one"),
        ("mean=1,2,3;std=1,2", "one for each channel"),
        ("letterbox=64;pad=300", "0..255"),
        ("pad=0", "at least 1"),
    ],
)
def test_refusals_say_what_to_do(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_preprocess(text)
    assert named in caught.value.hint


def test_a_toml_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("size = [")
    for name in ("bad.toml", "none.toml"):
        with pytest.raises(UsageError, match="cannot be read"):
            parse_preprocess(tmp_path / name)
