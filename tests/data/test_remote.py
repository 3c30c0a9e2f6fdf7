"""Samples that lie elsewhere are the same samples; what opens them is shown nowhere."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import graphopt
from graphopt import data
from graphopt.calibration import collect
from graphopt.data.remote_path import RemotePath, without_secrets
from graphopt.errors import DataError, UsageError
from graphopt.execution import open_workers
from tests.calibration.test_workers import bits, network

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")
INPUTS = network().signature.inputs


def feeds(samples: data.Samples) -> list[bytes]:
    return [sample.feeds["x"].tobytes() for sample in samples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in class folders, the same in shards, an npz and an npy."""
    root = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    names = [f"{number % 2}/{number}.png" for number in range(12)]
    for name in names:
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 9, 3), np.uint8)).save(path)
    (root / "shards").mkdir()
    for shard in range(3):
        with tarfile.open(root / "shards" / f"{shard}.tar", "w") as archive:
            for name in names[4 * shard : 4 * shard + 4]:
                stem = Path(name).stem
                archive.add(root / "photos" / name, f"{stem}.png")
                text = name[0].encode()
                info = tarfile.TarInfo(f"{stem}.cls")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
    values = rng.normal(size=(6, 3, 8, 8)).astype(np.float32)
    np.savez(root / "plain.npz", x=values, labels=np.arange(6))
    np.savez_compressed(root / "small.npz", x=values)
    np.save(root / "x.npy", values)
    return root


class Handler(SimpleHTTPRequestHandler):
    """A plain server with ranges, which says how much was fetched."""

    sent = 0

    def log_message(self, *arguments: Any) -> None: ...

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path.partition("?")[0]))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1 if last else None]
        Handler.sent += len(part)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def s3(folder: Path) -> Iterator[str]:
    """A real S3 server on loopback with the same files."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address, port = server.get_host_and_port()
    settings = {
        "FSSPEC_S3_ENDPOINT_URL": f"http://{address}:{port}",
        "FSSPEC_S3_KEY": "the-key",
        "FSSPEC_S3_SECRET": "the-secret",
    }
    patch = pytest.MonkeyPatch()
    for name, value in settings.items():
        patch.setenv(name, value)
    from fsspec.config import conf, set_conf_env

    set_conf_env(conf)
    import s3fs

    system = s3fs.S3FileSystem(
        endpoint_url=settings["FSSPEC_S3_ENDPOINT_URL"], key="the-key", secret="the-secret"
    )
    system.mkdir("bucket")
    system.put(str(folder), "bucket/data", recursive=True)
    yield "s3://bucket/data"
    patch.undo()
    conf.pop("s3", None)
    server.stop()


@pytest.mark.parametrize("place", ["http", "s3"])
def test_the_samples_are_those_of_the_files_here(
    place: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(place)
    photos = data.load(folder / "photos", INPUTS)
    found = data.load(f"{root}/photos", INPUTS)
    assert feeds(found) == feeds(photos) and found.labelled
    np.testing.assert_array_equal(found.feeder.labels, photos.feeder.labels)
    assert feeds(data.load(f"{root}/photos::5", INPUTS)) == feeds(photos.take(5))
    assert sorted(feeds(data.load(f"{root}/photos::5:", INPUTS))) == sorted(feeds(photos.skip(5)))
    assert sorted(feeds(data.load(f"{root}/photos#0", INPUTS))) == sorted(
        feeds(data.load(f"{folder}/photos#0", INPUTS))
    )
    shards = data.load(f"{root}/shards", INPUTS)
    assert sorted(feeds(shards)) == sorted(feeds(photos)) and shards.labelled
    assert sorted(shards.feeder.labels) == sorted(photos.feeder.labels)
    assert len(data.load(f"{root}/shards/1.tar", INPUTS)) == 4
    for name in ("plain.npz", "small.npz", "x.npy"):
        assert feeds(data.load(f"{root}/{name}", INPUTS)) == feeds(data.load(folder / name, INPUTS))
    assert data.load(f"{root}/plain.npz", INPUTS).labelled


def test_workers_read_their_own_samples(s3: str, folder: Path) -> None:
    model, wanted = network(), {"r": ["histogram", "channel-moments"]}
    samples = data.load(f"{s3}/shards", INPUTS)
    with open_workers(2) as workers:
        found = collect(model, wanted, samples, workers=workers)
    assert bits(found) == bits(collect(model, wanted, samples))
    assert b"the-secret" not in pickle.dumps(samples) and b"the-key" not in pickle.dumps(samples)


def test_of_a_large_archive_only_what_is_wanted_is_fetched(http: str, folder: Path) -> None:
    np.save(folder / "large.npy", np.zeros((40_000, 3, 8, 8), np.float32))
    samples = data.load(f"{http}/large.npy", INPUTS).take(1)
    before = Handler.sent
    assert len(feeds(samples)) == 1
    assert 0 < Handler.sent - before < (folder / "large.npy").stat().st_size / 2


def test_what_is_gone_or_has_changed_is_said(http: str, folder: Path) -> None:
    (folder / "moving").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "moving" / name).write_bytes((folder / "photos/0/0.png").read_bytes())
    samples = data.load(f"{http}/moving", INPUTS)
    (folder / "moving/b.png").unlink()
    with pytest.raises(DataError, match=r"moving/b\.png cannot be read"):
        feeds(samples)
    with pytest.raises(DataError, match="no file or folder"):
        data.load(f"{http}/nothing.npz", INPUTS)


def test_other_content_has_other_keys(s3: str, folder: Path) -> None:
    import s3fs

    before = list(data.load(f"{s3}/photos", INPUTS).content_keys())
    assert len(set(before)) == 12
    system = s3fs.S3FileSystem(endpoint_url=os.environ["FSSPEC_S3_ENDPOINT_URL"], key="k", secret="s")
    content = (folder / "photos/0/2.png").read_bytes()
    system.pipe("bucket/data/photos/0/0.png", content)
    RemotePath(f"{s3}/photos")._opened()[0].invalidate_cache()
    after = list(data.load(f"{s3}/photos", INPUTS).content_keys())
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1


def test_secrets_of_a_url_are_shown_nowhere(http: str, folder: Path, tmp_path: Path) -> None:
    url = http.replace("://", "://name:hidden@") + "/plain.npz?X-Amz-Signature=hidden#x"
    samples = data.load(f"{http}/plain.npz?X-Amz-Signature=hidden", INPUTS)
    assert "hidden" not in samples.source and "hidden" not in repr(samples.feeder)
    assert without_secrets(url) == f"{http}/plain.npz#x"
    assert without_secrets("a::64 b?c=d e@f") == "a::64 b?c=d e@f"
    with pytest.raises(DataError) as caught:
        data.load(f"{http}/nothing.npy?X-Amz-Signature=hidden", INPUTS)
    assert "hidden" not in str(caught.value) + caught.value.hint
    report, model = tmp_path / "r.json", tmp_path / "m.onnx"
    network().save(model)
    graphopt.optimize(
        model, "clean", calibration=f"{http}/plain.npz?sig=hidden", report=report, latency=False
    )
    assert (
        "hidden" not in report.read_text()
        and "plain.npz" in json.loads(report.read_text())["calibration"]["source"]
    )


def test_a_file_system_that_is_not_installed_is_named() -> None:
    with pytest.raises((UsageError, DataError), match=r"gs://bucket/x\.npz"):
        data.load("gs://bucket/x.npz", INPUTS)
