"""SPEC text parses and prints; what a shell mangled is refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import UsageError
from graphopt.pipeline.spec.spec import PassSpec, Spec, parse

names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
keys = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(min_size=0, max_size=8)
values = texts | st.lists(texts, min_size=2, max_size=4).map(tuple)
steps = st.builds(
    lambda name, options: PassSpec(name, tuple(options.items())),
    names,
    st.dictionaries(keys, values, max_size=3),
)


@given(st.lists(steps, min_size=1, max_size=4))
def test_what_is_printed_reads_back(written: list[PassSpec]) -> None:
    spec = Spec(tuple(written))
    assert parse(str(spec)) == spec
    assert str(parse(str(spec))) == str(spec)


@pytest.mark.parametrize(
    "text",
    [
        "fold-bn",
        "fold-bn,prune:macs=0.7:round_to=16,quant:calibrator=mse",
        "quant:exclude=a|b",
        'quant:exclude=/model/conv1|"a:b"',
        'surgeon:function="file.py:change"',
        'a:b="say ""yes"""',
    ],
)
def test_canonical_text_is_kept(text: str) -> None:
    assert str(parse(text)) == text


def test_blanks_around_commas_do_not_matter() -> None:
    assert str(parse(" a , b:c=1 ")) == "a,b:c=1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty spec"),
        ("   ", "empty spec"),
        ("prune,", "at the end, after ','"),
        (",prune", "before ',prune'"),
        ("a,,b", "before ',b'"),
        ("prune:", "at the end, after ':'"),
        ("prune::macs=1", "before ':macs=1'"),
        ("prune:macs", "option macs has no value"),
        ("prune:macs=", "empty value"),
        ("prune:macs=1:macs=2", "given twice"),
        ("prune{macs=0.7}", "'{' has no meaning"),
        ("prune macs=0.7", "'macs=0.7' is left over"),
        ("prune quant", "'quant' is left over"),
        ("quant:exclude=a|", "empty value"),
        ('quant:exclude="a', "not closed"),
        ("surgeon:function=file.py:change", "option change has no value"),
        ("a:b=c=d", "double quotes"),
        ("a:b=c|=d", "empty value"),
        ("-prune", "no pass name"),
        ("prune:0=1", "an option is missing"),
    ],
)
def test_a_text_that_is_no_spec_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert says in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint


@given(st.text(alphabet='ab:,|="{} .', max_size=12))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        spec = parse(text)
    except UsageError:
        return
    assert parse(str(spec)) == spec
