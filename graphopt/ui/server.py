"""Serves the page on the loopback: a token, one origin, and nothing outside the named folders.

Every request needs the token of this run, and one from another page's script is refused whatever it knows:
its ``Origin`` or ``Host`` is not this server's, so neither a foreign page nor a name that was pointed at the
loopback (DNS rebinding) gets an answer.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from graphopt.errors import GraphoptError, UsageError
from graphopt.ui.front import Choice
from graphopt.ui.jobs import Job
from graphopt.ui.page import render_page
from graphopt.ui.workbench import OutsideError, Setting, Workbench

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
LARGEST_BODY = 2**20  # memory: bytes of a request
BEAT = 1.0  # seconds after which an event stream says that it is alive


class Guard:
    """Lets only this run's own page through."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 403, or hand on."""
        if scope["type"] == "http" and (why := self._refusal(scope)):
            await PlainTextResponse(f"refused: {why}", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:
            return "this server answers on the loopback only"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "the request comes from another page"
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and scope["path"] != "/":  # a link may lead to the page itself
            return "the request comes from another page"
        token = headers.get("x-graphopt-token")
        if token is None and scope["method"] == "GET":  # links, downloads and event streams have no headers
            token = QueryParams(scope["query_string"]).get("token")
        if token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            return "the token of this run is missing or wrong"
        return ""


def make_app(bench: Workbench, token: str, is_stopping: Callable[[], bool] = lambda: False) -> Starlette:
    """The application for one workbench; event streams end once it ``is_stopping``."""
    views = _Views(bench, is_stopping)
    app = Starlette(
        routes=[
            Route("/", views.page),
            Route("/api/state", views.state),
            Route("/api/events", views.events),
            Route("/api/predict", _answer(views.predict), methods=["POST"]),
            Route("/api/study", _answer(views.study), methods=["POST"]),
            Route("/api/explore", _answer(views.explore), methods=["POST"]),
            Route("/api/changes", _answer(views.changes), methods=["POST"]),
            Route("/api/measure", _answer(views.measure), methods=["POST"]),
            Route("/api/cancel", _answer(views.cancel), methods=["POST"]),
            Route("/api/file/{job:int}/{kind}", views.file),
        ]
    )
    app.add_middleware(Guard, token=token)
    return app


class _Views:
    def __init__(self, bench: Workbench, is_stopping: Callable[[], bool]) -> None:
        self._bench = bench
        self._is_stopping = is_stopping
        self._page: tuple[str, str] | None = None  # drawing a large graph takes a while

    async def page(self, _: Request) -> Response:
        """The page."""
        if self._page is None:
            self._page = await run_in_threadpool(render_page, self._bench)
        text, policy = self._page
        return HTMLResponse(text, headers={**_HEADERS, "Content-Security-Policy": policy})

    async def state(self, _: Request) -> Response:
        """What is going on now."""
        return JSONResponse(self._bench.state(), headers=_HEADERS)

    async def events(self, request: Request) -> Response:
        """What is going on, as it changes."""
        return StreamingResponse(self._changes(request), media_type="text/event-stream", headers=_HEADERS)

    async def _changes(self, request: Request) -> AsyncIterator[str]:
        version = -1
        while not self._is_stopping() and not await request.is_disconnected():
            now = await run_in_threadpool(self._bench.wait, version, BEAT)
            yield f"data: {json.dumps(self._bench.state())}\n\n" if now != version else ": alive\n\n"
            version = now

    def predict(self, body: Mapping[str, Any]) -> Any:
        """The front under some choices, and one point of it."""
        return self._bench.predict(int(body.get("position", 0)), _choices(body))

    def study(self, body: Mapping[str, Any]) -> Any:
        """Begin a study."""
        return _queued(self._bench.study(_setting(body), [str(step) for step in body.get("steps", ())]))

    def explore(self, body: Mapping[str, Any]) -> Any:
        """Begin the search of a front."""
        return _queued(self._bench.explore(_setting(body), [str(step) for step in body.get("steps", ())]))

    def changes(self, body: Mapping[str, Any]) -> Any:
        """What a point of a front changes."""
        return {"changes": self._bench.changes(int(body["job"]), str(body["point"]))}

    def measure(self, body: Mapping[str, Any]) -> Any:
        """Begin a run of one point."""
        return _queued(self._bench.measure(int(body.get("position", 0)), _choices(body)))

    def cancel(self, body: Mapping[str, Any]) -> Any:
        """Take a job back."""
        job = self._bench.jobs.find(int(body["job"]))
        if job is None:
            raise UsageError("there is no such job")
        self._bench.jobs.cancel(job)
        return job.to_json()

    async def file(self, request: Request) -> Response:
        """A file that a run made."""
        job = self._bench.jobs.find(request.path_params["job"])
        path = None if job is None else self._bench.output(job, request.path_params["kind"])
        if path is None:
            return PlainTextResponse("there is no such file", 404)
        return FileResponse(path, filename=path.name, headers=_HEADERS)


_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _answer(view: Callable[[Mapping[str, Any]], Any]) -> Callable[[Request], Awaitable[Response]]:
    """A view of a JSON body; an error of ours becomes one sentence."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            if len(body) > LARGEST_BODY:
                raise UsageError("the request is too large")
            values = json.loads(body or b"{}")
            if not isinstance(values, dict):
                raise UsageError("the request is no JSON object")
            return JSONResponse(await run_in_threadpool(view, values), headers=_HEADERS)
        except OutsideError as error:
            return JSONResponse({"error": _sentence(error)}, 403, headers=_HEADERS)
        except GraphoptError as error:
            return JSONResponse({"error": _sentence(error)}, 400, headers=_HEADERS)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return JSONResponse({"error": f"the request is malformed: {error}"}, 400, headers=_HEADERS)

    return endpoint


def _sentence(error: GraphoptError) -> str:
    return f"{error}" + (f" ({error.hint})" if error.hint else "")


def _setting(body: Mapping[str, Any]) -> Setting:
    texts = {key: str(body[key]).strip() for key in Setting.__dataclass_fields__ if body.get(key)}
    if "calibration" not in texts:
        raise UsageError("no samples are named")
    return Setting(**texts)


def _choices(body: Mapping[str, Any]) -> dict[tuple[str, str], Choice]:
    """The choices of a request: {step: {part: keep or force}}."""
    choices: dict[tuple[str, str], Choice] = {}
    for step, parts in body.get("choices", {}).items():
        for name, choice in parts.items():
            if choice not in ("auto", "keep", "force"):
                raise UsageError(f"a part is left to the search, kept or forced, not {choice!r}")
            choices[str(step), str(name)] = choice
    return choices


def _queued(job: Job | None) -> dict[str, Any]:
    if job is None:
        raise UsageError("the queue is full", hint="wait for a job, or cancel one")
    return job.to_json()
