"""The server answers its own page and nobody else, and steers a model from study to replay."""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from graphopt.cli import app
from graphopt.ui.workbench import Workbench
from tests.ui.conftest import TOKEN

pytest.importorskip("starlette", reason="needs starlette: pip install graphopt[ui]")
pytest.importorskip("httpx", reason="needs httpx: pip install graphopt[test]")

from starlette.testclient import TestClient

from graphopt.ui.server import make_app

KEY = {"X-Graphopt-Token": TOKEN}


@pytest.fixture
def client(bench: Workbench) -> TestClient:
    return TestClient(make_app(bench, TOKEN), base_url="http://127.0.0.1:8000")


def finished(bench: Workbench, number: int) -> Any:
    """A job once it has ended."""
    job = bench.jobs.find(number)
    version = -1
    while job.state in ("waiting", "running"):
        version = bench.wait(version, 60.0)
    return job


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?token=wrong", {}),
        ("/api/state", {}),
        ("/api/events", {}),
        ("/api/file/1/model", {}),
        ("/api/state", {"X-Graphopt-Token": TOKEN[:-1]}),
        ("/api/state", {**KEY, "Origin": "http://evil.example"}),
        ("/api/state", {**KEY, "Origin": "http://127.0.0.1:9999"}),  # another page of this machine
        ("/api/state", {**KEY, "Origin": "null"}),
        ("/api/state", {**KEY, "Sec-Fetch-Site": "cross-site"}),
        (f"/api/events?token={TOKEN}", {"Sec-Fetch-Site": "same-site"}),  # an image of a page on another port
        (f"/api/state?token={TOKEN}", {"Host": "evil.example:8000"}),  # a name pointed at the loopback
        (f"/api/state?token={TOKEN}", {"Host": "127.0.0.1.evil.example"}),
    ],
)
def test_nobody_else_gets_an_answer(client: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 403 and answer.text.startswith("refused: ")
    assert "set-cookie" not in answer.headers


def test_what_changes_something_needs_the_token_in_its_header(client: TestClient) -> None:
    """A form of another page can name a token in its address, and set no header."""
    for path in ("predict", "study", "explore", "changes", "measure", "cancel"):
        assert client.post(f"/api/{path}?token={TOKEN}", json={}).status_code == 403
        assert (
            client.post(f"/api/{path}", json={}, headers={**KEY, "Origin": "http://evil"}).status_code == 403
        )
        assert client.get(f"/api/{path}", headers=KEY).status_code == 405


@pytest.mark.parametrize("where", ["calibration", "evaluation", "preprocess"])
@pytest.mark.parametrize(
    "path",
    ["../outside/samples.npz", "link.npz", "/etc/passwd", "../outside/samples.npz#x::4", "s3://bucket/x.npz"],
)
def test_no_path_leads_outside(
    client: TestClient, bench: Workbench, monkeypatch: pytest.MonkeyPatch, where: str, path: str
) -> None:
    monkeypatch.chdir(bench.model.parent)
    body = {"calibration": "samples.npz", "steps": ["quant"], where: path}
    for what in ("study", "explore"):
        answer = client.post(f"/api/{what}", json=body, headers=KEY)
        assert answer.status_code == 403 and "outside the folders" in answer.json()["error"]
    assert not list(bench.jobs)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("study", {}),
        ("study", {"calibration": "samples.npz", "steps": []}),
        ("study", {"calibration": "samples.npz", "steps": ["surgeon"]}),
        ("study", {"calibration": "samples.npz", "steps": ["quant"], "task": "cooking"}),
        ("study", {"calibration": "samples.npz", "steps": 7}),
        ("predict", {"position": "x"}),
        ("predict", {"choices": []}),
        ("predict", {}),
        ("measure", {}),
        ("explore", {}),
        ("explore", {"calibration": "samples.npz", "steps": ["surgeon"]}),
        ("changes", {}),
        ("changes", {"job": 1, "point": "01"}),
        ("cancel", {}),
        ("cancel", {"job": 99}),
    ],
)
def test_wrong_requests_are_sentences(
    client: TestClient, bench: Workbench, monkeypatch: pytest.MonkeyPatch, path: str, body: Any
) -> None:
    monkeypatch.chdir(bench.model.parent)
    answer = client.post(f"/api/{path}", json=body, headers=KEY)
    assert answer.status_code == 400 and answer.json()["error"]
    for text in (b"{", b"[1]", b"\xff"):
        assert client.post(f"/api/{path}", content=text, headers=KEY).status_code == 400
    assert not list(bench.jobs)


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get(f"/?token={TOKEN}")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "http" not in policy
    assert TOKEN not in answer.text and answer.text.count("<script") == 1
    assert answer.headers["cache-control"] == "no-store" and "net.onnx" in answer.text


def test_from_study_to_a_replay_with_the_same_bytes(
    client: TestClient, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.model.parent)
    job = client.post(
        "/api/study", json={"calibration": "samples.npz", "steps": ["quant"]}, headers=KEY
    ).json()
    assert finished(bench, job["number"]).state == "done"
    whole = client.post("/api/predict", json={"position": 99}, headers=KEY).json()
    changed = [part for part in whole["parts"] if part["level"] is not None]
    vetoed = changed[0]
    choices = {"quant": {vetoed["name"]: "keep"}}
    steered = client.post("/api/predict", json={"position": 99, "choices": choices}, headers=KEY).json()
    (part,) = [part for part in steered["parts"] if part["name"] == vetoed["name"]]
    assert part["level"] is None and part["choice"] == "keep" and vetoed["name"] in steered["passes"]
    assert steered["front"][-1]["sqnr_db"] > whole["front"][-1]["sqnr_db"]  # less noise, and more bytes
    assert steered["front"][-1]["bytes"] > whole["front"][-1]["bytes"]

    body = {"position": 99, "choices": choices}
    number = client.post("/api/measure", json=body, headers=KEY).json()["number"]
    job = finished(bench, number)
    assert job.state == "done", job.message
    assert json.loads(json.dumps(client.get("/api/state", headers=KEY).json()))["jobs"][-1]["state"] == "done"
    content = {
        kind: client.get(f"/api/file/{number}/{kind}?token={TOKEN}").content
        for kind in ("model", "plan", "report")
    }
    assert hashlib.sha256(content["model"]).hexdigest() == job.result["sha256"]
    assert client.get(f"/api/file/{number}/../../secret?token={TOKEN}").status_code == 404
    assert client.get(f"/api/file/1/model?token={TOKEN}").status_code == 404  # a study has no files

    (tmp_path / "plan.json").write_bytes(content["plan"])
    words = shlex.split(job.result["command"])[1:]
    words = [str(tmp_path / word) if word in ("plan.json", "model.onnx") else word for word in words]
    assert app.run([*words, "--quiet"]) == 0
    assert (tmp_path / "model.onnx").read_bytes() == content["model"]


def test_from_a_front_to_a_replay_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine of ``graphopt explore``, with each point's changes by row of the graph."""
    from graphopt.analysis import exploration

    models = Path(__file__).parents[2] / "models"
    quick = functools.partial(exploration.explore, points=1, latency=False)
    monkeypatch.setattr(exploration, "explore", quick)
    bench = Workbench(models / "fashion_residual.onnx", [], tmp_path / "work")
    client = TestClient(make_app(bench, TOKEN), base_url="http://127.0.0.1:8000")
    body = {"calibration": f"{models / 'fashion_samples.npz'}#calibration::16", "steps": ["quant"]}
    number = client.post("/api/explore", json=body, headers=KEY).json()["number"]
    job = finished(bench, number)
    assert job.state == "done", job.message
    json.dumps(client.get("/api/state", headers=KEY).json(), allow_nan=False)
    point = job.result["points"][0]
    name = point["name"]
    answer = client.post("/api/changes", json={"job": number, "point": name}, headers=KEY)
    changes, layers = answer.json()["changes"], bench.inspection.layers
    assert len(changes) >= point["moves"]["quant"] > 0
    assert all(each["step"] == "quant" and layers[each["row"]].name == each["name"] for each in changes)
    wrong = client.post("/api/changes", json={"job": number, "point": "99"}, headers=KEY)
    assert wrong.status_code == 400

    kinds = ("page", f"model-{name}", f"plan-{name}", "model", "model-99")
    content = {kind: client.get(f"/api/file/{number}/{kind}?token={TOKEN}") for kind in kinds}
    assert [each.status_code for each in content.values()] == [200, 200, 200, 404, 404]
    (tmp_path / f"{name}.plan.json").write_bytes(content[f"plan-{name}"].content)
    monkeypatch.chdir(tmp_path)
    assert app.run([*shlex.split(point["command"])[1:], "--quiet"]) == 0
    assert (tmp_path / f"{name}.onnx").read_bytes() == content[f"model-{name}"].content
    bench.close()


def test_a_failure_of_a_job_is_its_sentence(
    client: TestClient, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.model.parent)
    body = {"calibration": "missing.npz", "steps": ["quant"]}
    job = finished(bench, client.post("/api/study", json=body, headers=KEY).json()["number"])
    assert job.state == "failed" and "missing.npz" in job.message
