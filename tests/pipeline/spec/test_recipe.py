"""Recipes hold passes, loops and flags."""

from __future__ import annotations

import pytest

from graphopt.errors import UsageError
from graphopt.pipeline.spec.recipe import parse_recipe, read

FLAGS = ("passes", "target", "max-drop", "shape")


def written(text: str) -> list[str]:
    return [f"{t.step}@{t.index}/{t.count}" for t in parse_recipe(text, FLAGS).turns]


def test_passes_and_flags() -> None:
    recipe = parse_recipe(
        'target = "qnn"\nmax_drop = 1.5\n'
        '[[pass]]\nname = "prune"\nmacs = 0.7\nexact = true\nexclude = ["a", "b:c"]',
        FLAGS,
    )
    assert [str(t.step) for t in recipe.turns] == ['prune:macs=0.7:exact=true:exclude=a|"b:c"']
    assert recipe.flags == {"target": "qnn", "max-drop": 1.5}


def test_passes_as_one_spec() -> None:
    recipe = parse_recipe('passes = "a,b:c=1"', FLAGS)
    assert [str(t.step) for t in recipe.turns] == ["a", "b:c=1"]
    assert recipe.flags == {}


def test_a_loop_runs_its_passes_in_steps_where_it_stands() -> None:
    text = '[[pass]]\nname="a"\n[[loop]]\nsteps=2\npasses=["b:x=1","c"]\n[[pass]]\nname="d"'
    assert written(text) == ["a@0/1", "b:x=1@0/2", "c@0/2", "b:x=1@1/2", "c@1/2", "d@0/1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = ", "not TOML"),
        ("tarket = 'x'", "did you mean 'target'"),
        ("[[pass]]\nmacs=1", "has no name"),
        ("[pass]\nname='a'", "[[pass]]"),
        ("pass = 3", "[[pass]]"),
        ("[[pass]]\nname='a'\nx={y=1}", "neither a value nor a list"),
        ("[[loop]]\nsteps=0\npasses=['a']", "needs steps"),
        ("[[loop]]\nsteps=true\npasses=['a']", "needs steps"),
        ("[[loop]]\nsteps=2", "needs passes"),
        ("[[loop]]\nsteps=2\npasses=[]", "needs passes"),
        ("[[loop]]\nsteps=2\npasses=['a']\nstep=1", "no key 'step'"),
        ("passes='a'\n[[pass]]\nname='b'", "given twice"),
        ("pass=[{name='a'}]\nloop=[{steps=1,passes=['b']}]", "order"),
    ],
)
def test_a_wrong_recipe_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(text, FLAGS)
    assert says in f"{caught.value} {caught.value.hint}"


def test_a_missing_or_binary_file_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.toml", FLAGS)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "binary.toml", FLAGS)
