"""Models that nobody made for graphopt: the onnx wheel's backend tests, and folders of files."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ("node", "simple", "light", "pytorch-converted", "pytorch-operator")
DataSet = tuple[list[Any], list[Any]]  # values of the inputs and outputs, in the model's order


@dataclass(frozen=True)
class Case:
    """A model and what it shall answer: data in memory, or folders of ``input_0.pb`` and ``output_0.pb``."""

    name: str
    model: bytes | Path
    data: tuple[DataSet | Path, ...] = ()

    def content(self) -> bytes:
        """The serialised model; weights in files beside it are not part of it."""
        return self.model if isinstance(self.model, bytes) else self.model.read_bytes()

    def data_sets(self) -> Iterator[DataSet]:
        """Yield the values fed and the values expected."""
        for item in self.data:
            yield _read_folder(item, self.content()) if isinstance(item, Path) else item


def suite(kinds: Sequence[str] = KINDS) -> list[Case]:
    """The backend tests of the installed onnx package, by name within their kind."""
    made: list[Case] = []
    for kind in kinds:
        of_kind = {"node": node_cases, "light": _light_cases}.get(kind)
        cases = of_kind() if of_kind is not None else _stored_cases(kind)
        made += sorted(cases, key=lambda case: case.name)
    return made


def frozen(case: Case) -> Case | None:
    """The case with all inputs but the first as constants, which gives it weights; None without any.

    What its data sets expect stays the same, so the first one's values are what is frozen.
    """
    model = onnx.ModelProto.FromString(case.content())
    graph = model.graph
    data_set = next(case.data_sets(), None)
    filled = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in filled]
    if data_set is None or len(inputs) < 2 or len(data_set[0]) != len(inputs) or model.ir_version < 4:
        return None
    values = dict(zip((info.name for info in inputs[1:]), data_set[0][1:], strict=True))
    if not all(isinstance(value, np.ndarray) for value in values.values()):
        return None
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    kept = [info for info in graph.input if info.name not in values]
    del graph.input[:]
    graph.input.extend(kept)
    return Case(f"{case.name}:frozen", model.SerializeToString(), ((data_set[0][:1], data_set[1]),))


def folder(path: Path) -> list[Case]:
    """Every ``.onnx`` file under a folder, with the ``test_data_set_*`` folders beside it."""
    files = sorted(path.rglob("*.onnx"))
    return [Case(str(file.relative_to(path)), file, _data_beside(file)) for file in files]


def node_cases(modules: Sequence[str] = ()) -> list[Case]:
    """The generated cases of single operators; all, or those of some modules such as ``gather``.

    Modules that are imported already count as well: importing is what makes their cases.
    """
    from onnx.backend.test.case import node as package
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings():  # of numpy, about the values that make these cases awkward
        warnings.simplefilter("ignore")
        for module in modules:
            importlib.import_module(f"{package.__name__}.{module}")
        tests = package._NodeTestCases if modules else load_node_model_tests()
    return [
        Case(
            f"node/{test.name}",
            test.model.SerializeToString(),
            tuple(([*map(_plain, given)], [*map(_plain, expected)]) for given, expected in test.data_sets),
        )
        for test in tests
        if test.model is not None and test.data_sets is not None
    ]


def _stored_cases(kind: str) -> list[Case]:
    files = sorted((_data_folder() / kind).glob("*/model.onnx"))
    return [Case(f"{kind}/{file.parent.name}", file, _data_beside(file)) for file in files]


def _light_cases() -> list[Case]:
    """Nets whose weights are made in the graph; fed, as ONNX's own runner does, with a ramp from 0 to 1."""
    made = []
    for file in sorted((_data_folder() / "light").glob("*.onnx")):
        model = onnx.load(file)
        filled = {tensor.name for tensor in model.graph.initializer}
        feeds: list[Any] = [_ramp(info) for info in model.graph.input if info.name not in filled]
        expected = [_read(path, None) for path in _numbered(file.parent, f"{file.stem}_output_")]
        made.append(Case(f"light/{file.stem}", file, ((feeds, expected),)))
    return made


def _ramp(info: onnx.ValueInfoProto) -> np.ndarray:
    shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
    size = int(np.prod(shape))
    return (np.arange(size).reshape(shape) / size).astype(np.float32)


def _data_folder() -> Path:
    import onnx.backend.test

    return Path(onnx.backend.test.__file__).parent / "data"


def _data_beside(file: Path) -> tuple[Path, ...]:
    return tuple(sorted(file.parent.glob("test_data_set_*")))


def _read_folder(path: Path, content: bytes) -> DataSet:
    graph = onnx.ModelProto.FromString(content).graph
    filled = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in filled]
    given = _numbered(path, "input_")
    if len(given) > len(inputs):  # of a file that holds a value for each default too
        inputs = list(graph.input)
    return (
        [_read(file, info.type) for file, info in zip(given, inputs, strict=False)],
        [
            _read(file, info.type)
            for file, info in zip(_numbered(path, "output_"), graph.output, strict=False)
        ],
    )


def _numbered(path: Path, stem: str) -> list[Path]:
    return sorted(path.glob(f"{stem}*.pb"), key=lambda file: int(file.stem.rpartition("_")[2]))


def _read(file: Path, kind: onnx.TypeProto | None) -> Any:
    """A tensor, sequence or optional, as Python holds it."""
    field = None if kind is None else kind.WhichOneof("value")
    content = file.read_bytes()
    if field == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if field == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, dict) else np.asarray(value)
