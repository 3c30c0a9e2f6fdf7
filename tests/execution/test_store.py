"""What is kept comes back whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphopt.execution import Store
from graphopt.execution.store import store_key


def test_a_result_comes_back_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.put("key", b"content")
    assert store.get("key") == b"content" and store.get("other") is None
    (file,) = (tmp_path / "cache").iterdir()
    for damaged in (b"", file.read_bytes()[:-1], file.read_bytes()[:-1] + b"?"):
        file.write_bytes(damaged)
        assert store.get("key") is None
    store.drop("key")
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_folder_nothing_is_kept() -> None:
    store = Store(None)
    store.put("key", b"content")
    assert store.get("key") is None


def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, os.strerror(28))

    said: list[str] = []
    store = Store(tmp_path, said.append)
    monkeypatch.setattr(Path, "write_bytes", full)
    for key in "ab":
        store.put(key, b"content")
        assert store.get(key) is None
    assert len(said) == 1 and "No space left" in said[0]
    assert not list(tmp_path.iterdir())


def test_keys_tell_apart_what_results_depend_on() -> None:
    assert store_key({"a": 1, "b": 2}) == store_key({"b": 2, "a": 1}) != store_key({"a": 2, "b": 1})
