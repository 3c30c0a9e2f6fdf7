"""Run a model with onnxruntime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from graphopt.errors import UsageError
from graphopt.runtime.failures import library_error, load_error, run_error, runtime_errors
from graphopt.runtime.in_order import in_order
from graphopt.runtime.model_source import Source
from graphopt.runtime.ort_values import from_ort_value, is_narrow_type, to_ort_values

if TYPE_CHECKING:
    import onnxruntime as ort  # type: ignore[import-untyped]

    from graphopt.runtime.model_source import ModelLike

Optimization = Literal["all", "extended", "basic", "disabled"]
Provider = Literal["cpu", "cuda"]
Feeds = Mapping[str, np.ndarray]
T = TypeVar("T")

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_FATAL = 4  # fixed: errors reach the caller as exceptions, so onnxruntime's own log stays silent


@dataclass(frozen=True)
class SessionOptions:
    """What every session of a run is opened with.

    How many threads may be used, where models run, and the libraries of custom operators that may be loaded.
    """

    threads: int = 1
    provider: Provider = "cpu"
    custom_ops: tuple[str, ...] = ()

    @property
    def samples_at_once(self) -> int:
        """How many samples a session answers at a time, one on each thread.

        One where the threads work inside of operators: custom operators need not stand several runs.
        """
        return self.threads if self.provider == "cpu" and not self.custom_ops else 1


DEFAULTS = SessionOptions()


class Session:
    """A loaded model that answers `run`, with deterministic settings and nothing on stderr.

    `outputs` names the tensors that `run` returns, inner ones included; by default the model's own outputs.
    Several samples may be answered at a time (`answers`), each on one thread; a session that is `timed` uses
    all threads for each of its runs, as a deployed model does.
    Raises ModelError when onnxruntime refuses the model, UsageError when it lacks the provider or a library.
    """

    def __init__(
        self,
        model: ModelLike,
        options: SessionOptions = DEFAULTS,
        *,
        outputs: Sequence[str] | None = None,
        optimization: Optimization = "all",
        timed: bool = False,
    ) -> None:
        self._at_once = 1 if timed else options.samples_at_once
        options = dataclasses.replace(options, threads=options.threads if self._at_once == 1 else 1)
        self._source = Source(model, outputs or ())  # keeps a temporary file alive as long as the session
        self._session = _open(self._source, self._settings(optimization, options), options)
        self.input_names: tuple[str, ...] = tuple(i.name for i in self._session.get_inputs())
        own = [o.name for o in self._session.get_outputs()]
        # as onnxruntime writes them, such as tensor(float)
        self.types: Mapping[str, str] = {o.name: o.type for o in self._session.get_outputs()}
        self.output_names: tuple[str, ...] = tuple(own if outputs is None else outputs)
        self._has_narrow_ports = self._reads_narrow(self.output_names)

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Output arrays by name for one set of input arrays.

        An output that is a sequence or a map in ONNX comes as a Python list or dict, one of bfloat16, float8
        or int4 as an array of ml_dtypes.
        Raises DataError when the arrays do not fit the inputs, ModelError when a node fails.
        """
        try:
            values = self._compute(feeds)
        except runtime_errors() as error:
            raise run_error(error, self._source.label) from error
        return dict(zip(self.output_names, values, strict=True))

    def answers(self, items: Iterable[T], feeds: Callable[[T], Feeds]) -> Iterator[tuple[T, dict[str, Any]]]:
        """Yield each item with the outputs for its ``feeds``, in order; errors as in ``run``."""
        return in_order(lambda item: self.run(feeds(item)), items, self._at_once)

    def _compute(self, feeds: Feeds) -> Sequence[Any]:
        if not self._has_narrow_ports:
            values = self._session.run(list(self.output_names), dict(feeds))
        else:
            made = self._session.run_with_ort_values(list(self.output_names), to_ort_values(feeds))
            values = [from_ort_value(value) for value in made]
        return values if self.output_names else []  # asked for nothing, onnxruntime returns everything

    def _reads_narrow(self, outputs: Sequence[str]) -> bool:
        """Whether feeds or results are of types that onnxruntime does not exchange with numpy."""
        ports = {port.name: port.type for port in self._session.get_outputs()}
        kinds = [port.type for port in self._session.get_inputs()]
        return any(map(is_narrow_type, [*kinds, *(ports[name] for name in outputs if name in ports)]))

    def _settings(self, optimization: Optimization, options: SessionOptions) -> ort.SessionOptions:
        """What onnxruntime opens this session with."""
        return runtime_options(optimization, options)


def runtime_options(
    optimization: Optimization = "all", options: SessionOptions = DEFAULTS
) -> ort.SessionOptions:
    """The onnxruntime settings every session shares: sequential, deterministic, silent."""
    ort = load_runtime()
    settings = ort.SessionOptions()
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[optimization])
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.use_deterministic_compute = True
    settings.log_severity_level = _FATAL
    for library in options.custom_ops:
        try:
            settings.register_custom_ops_library(str(library))
        except runtime_errors() as error:
            raise library_error(error, str(library)) from error
    return settings


def check_session(options: SessionOptions) -> None:
    """Raise UsageError when no session can be opened like this, before any work; free for a plain one."""
    if options.custom_ops:
        runtime_options(options=options)
    if options.provider != "cpu":
        _check_provider(options.provider)


def _check_provider(provider: Provider) -> None:
    if _PROVIDERS[provider] not in load_runtime().get_available_providers():
        raise UsageError(
            f"this onnxruntime has no {provider} provider",
            hint="install onnxruntime-gpu or use --provider cpu",
        )


def load_runtime() -> Any:
    """The onnxruntime module, imported on first use and set to be silent, also towards its makers."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _open(source: Source, settings: ort.SessionOptions, options: SessionOptions) -> ort.InferenceSession:
    ort = load_runtime()
    wanted = _PROVIDERS[options.provider]
    _check_provider(options.provider)
    providers = list(dict.fromkeys([wanted, _PROVIDERS["cpu"]]))
    try:
        session = ort.InferenceSession(source.content, settings, providers=providers)
    except runtime_errors() as error:
        raise load_error(error, source.label, options.custom_ops) from error
    session.disable_fallback()
    if wanted not in session.get_providers():
        raise UsageError(
            f"the {options.provider} provider of onnxruntime does not start on this machine",
            hint="check its driver and libraries, or use --provider cpu",
        )
    return session
