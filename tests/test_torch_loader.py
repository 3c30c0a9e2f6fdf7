"""From a torch model and a data loader to a measured INT8 file, in the lines that the docs show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphopt


def test_five_lines_lead_from_a_loader_to_a_measured_int8_file(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnxscript", reason="torch exports with onnxscript, which is not installed")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )
    x, y = torch.randn(96, 3, 12, 12), torch.randint(0, 4, (96,))
    train = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:48], y[:48]), 16, shuffle=True)
    test = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[48:], y[48:]), 7)

    program = torch.onnx.export(
        model.eval(), (x[:2],), dynamo=True, dynamic_shapes=({0: "batch"},), verbose=False
    )
    result = graphopt.optimize(program, "quant:measure=false", calibration=train, evaluation=test)
    result.save(tmp_path / "int8.onnx")

    report = result.report
    with torch.no_grad():
        expected = float((model(x[48:]).argmax(1) == y[48:]).double().mean())
    assert report.before.metrics["top1"] == pytest.approx(expected)
    assert report.calibration.samples == 48 and report.after.latency_ms is not None
    assert graphopt.inspect(tmp_path / "int8.onnx").ops["QuantizeLinear"] > 0
    assert np.isfinite(report.agreement["snr_db"][next(iter(report.agreement["snr_db"]))])


def test_a_torch_module_is_said_to_need_an_export() -> None:
    class Module:
        """What torch's modules look like from outside."""

    Module.__module__ = "torch.nn.modules.container"
    with pytest.raises(graphopt.GraphoptError, match="a torch Module, not an ONNX model") as caught:
        graphopt.optimize(Module())  # type: ignore[arg-type]
    assert "torch.onnx.export" in caught.value.hint  # type: ignore[attr-defined]
