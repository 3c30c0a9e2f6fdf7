"""Choose sizes for the dynamic dimensions of a model, by running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from graphopt.data.draws import PLAUSIBLE, POSITIVE
from graphopt.errors import DataError, ModelError, UsageError
from graphopt.runtime.inputs.samples import first_feeds
from graphopt.runtime.inputs.sizes import IMAGE_SIZES, Shape, Template, Unknown, bind, fill, template, trials
from graphopt.runtime.model_source import label
from graphopt.runtime.session import DEFAULTS, Session, SessionOptions
from graphopt.util.text import did_you_mean

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model, Port

TRIAL_STYLES = (PLAUSIBLE, POSITIVE)  # of synthetic values: some models take no zeros, whatever their sizes


@dataclass(frozen=True)
class TrialShapes:
    """The sizes a model runs at: dims by input name, and the sentence that announces what was chosen.

    `announcement` is empty when the file or the user had decided everything.
    """

    shapes: dict[str, Shape]
    announcement: str = ""


def trial_shapes(
    model: Model,
    overrides: Mapping[str, Shape] | None = None,
    samples: Samples | None = None,
    *,
    run: bool = True,
    options: SessionOptions = DEFAULTS,
) -> TrialShapes:
    """Sizes for all inputs: from `overrides`, else samples, else the file, else the first trial that runs.

    Without `run` the first trial is taken as it is.  Trials use batch 1 and 224, 320, 640, 48x192 for images;
    dims with the same symbol get the same size.
    Raises UsageError when an override does not fit the model, ModelError when no trial runs: its hint is the
    `--shape` option to add.
    """
    ports = model.signature.inputs
    overrides = dict(overrides or {})
    _check_overrides(ports, overrides)
    templates = {port.name: dims for port in ports if (dims := template(port)) is not None}
    sampled = {} if samples is None else _sample_shapes(samples, ports)
    given = {**sampled, **overrides}
    sizes = bind(templates, _overrides_first(overrides, sampled))
    remaining = {name: fill(dims, sizes) for name, dims in templates.items() if name not in given}
    _refuse_unknown_rank(model, ports, given, remaining)
    if not any(isinstance(dim, Unknown) for dims in remaining.values() for dim in dims):
        shapes = _in_order(ports, given, {name: _plain(dims) for name, dims in remaining.items()})
        return TrialShapes(shapes, _from_samples(ports, overrides, sampled))
    if not run:
        first = next(iter(trials(list(remaining.values()))))
        filled = {name: _plain(fill(dims, first)) for name, dims in remaining.items()}
        return TrialShapes(_in_order(ports, given, filled), _announcement(remaining, filled, "not tried"))
    # for a single run, optimising takes longer than it saves
    session = Session(model, options, optimization="disabled")
    return _first_that_runs(model, session, ports, given, remaining)


def _first_that_runs(
    model: Model,
    session: Session,
    ports: Sequence[Port],
    given: Mapping[str, Shape],
    remaining: Mapping[str, Template],
) -> TrialShapes:
    failure: Exception | None = None
    for style, sizes in product(TRIAL_STYLES, trials(list(remaining.values()))):
        filled = {name: _plain(fill(dims, sizes)) for name, dims in remaining.items()}
        shapes = _in_order(ports, given, filled)
        try:
            session.run(first_feeds(model, shapes, style))
        except (ModelError, DataError) as error:
            failure = failure or error
            continue
        return TrialShapes(shapes, _announcement(remaining, filled))
    raise ModelError(
        f"{label(model)} runs at none of the trial sizes ({_sizes_text()}); the first trial said: {failure}",
        hint=f"give the sizes it is made for: {_shape_options(ports, given, remaining)}",
    ) from failure


def _check_overrides(ports: Sequence[Port], overrides: Mapping[str, Shape]) -> None:
    """Refuse overrides that name no input or contradict the declared dims."""
    by_name = {port.name: port for port in ports}
    for name, shape in overrides.items():
        if name not in by_name:
            raise UsageError(
                f"--shape names {name}, which is not an input of the model",
                hint=did_you_mean(name, by_name, f"it has {', '.join(by_name) or 'none'}"),
            )
        declared = by_name[name].shape
        if declared is not None and not _fits(shape, declared):
            raise UsageError(
                f"--shape {name}={_times(shape)} contradicts the model, which declares {_declared(declared)}",
                hint="give as many dims as the input has and keep its fixed ones",
            )


def _fits(shape: Shape, declared: Sequence[int | str | None]) -> bool:
    if len(shape) != len(declared):
        return False
    return all(
        size == dim for size, dim in zip(shape, declared, strict=True) if isinstance(dim, int) and dim >= 0
    )


def _refuse_unknown_rank(
    model: Model, ports: Sequence[Port], given: Mapping[str, Shape], remaining: Mapping[str, Template]
) -> None:
    for port in ports:
        if port.dtype is None:
            raise ModelError(
                f"input {port.name} of {label(model)} is not a tensor: no synthetic samples fit it"
            )
        if port.name not in given and port.name not in remaining:
            raise ModelError(
                f"{label(model)} does not declare how many dims its input {port.name} has",
                hint=f"add --shape {port.name}=1x3x224x224 with the dims it is made for",
            )


def _sample_shapes(samples: Samples, ports: Iterable[Port]) -> dict[str, Shape]:
    """Dims of the first sample, for the inputs it feeds."""
    feeds = next(iter(samples)).feeds
    return {port.name: tuple(feeds[port.name].shape) for port in ports if port.name in feeds}


def _overrides_first(overrides: Mapping[str, Shape], sampled: Mapping[str, Shape]) -> dict[str, Shape]:
    """Both, with the user's inputs first, so that their symbols win."""
    return {**overrides, **{name: shape for name, shape in sampled.items() if name not in overrides}}


def _in_order(
    ports: Sequence[Port], given: Mapping[str, Shape], filled: Mapping[str, Shape]
) -> dict[str, Shape]:
    both = {**filled, **given}
    return {port.name: both[port.name] for port in ports}


def _plain(dims: Template) -> Shape:
    return tuple(dim for dim in dims if isinstance(dim, int))


def _from_samples(ports: Sequence[Port], overrides: Mapping[str, Shape], sampled: Mapping[str, Shape]) -> str:
    dynamic = [
        port.name
        for port in ports
        if port.name in sampled and port.name not in overrides and not _fully_declared(port.shape)
    ]
    if not dynamic:
        return ""
    return f"sizes from the samples: {', '.join(f'{name}={_times(sampled[name])}' for name in dynamic)}"


def _fully_declared(shape: Sequence[int | str | None] | None) -> bool:
    return shape is not None and all(isinstance(dim, int) and dim >= 0 for dim in shape)


def _announcement(
    remaining: Mapping[str, Template],
    filled: Mapping[str, Shape],
    how: str = "the first that the model runs at",
) -> str:
    guessed = [name for name, dims in remaining.items() if any(isinstance(dim, Unknown) for dim in dims)]
    chosen = ", ".join(f"{name}={_times(filled[name])}" for name in guessed)
    options = " ".join(f"--shape {name}={_times(filled[name])}" for name in guessed)
    return f"dynamic sizes set to {chosen}, {how} ({options} decides)"


def _shape_options(
    ports: Sequence[Port], given: Mapping[str, Shape], remaining: Mapping[str, Template]
) -> str:
    """The `--shape` options with letters where a size is missing."""
    letters = {"batch": "1", "channels": "C", "height": "H", "width": "W", "other": "?"}
    options = []
    for port in ports:
        if port.name in given:
            continue
        dims = (letters[d.kind] if isinstance(d, Unknown) else str(d) for d in remaining[port.name])
        options.append(f"--shape {port.name}={'x'.join(dims)}")
    return " ".join(options)


def _sizes_text() -> str:
    return ", ".join(str(h) if h == w else f"{h}x{w}" for h, w in IMAGE_SIZES)


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _declared(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"
