"""The HTTP interface: requests in, answers out, and one sentence for what is refused.

Nothing that a request held is repeated in an error or a log: it may name a person.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from tasks.serving.engine import Engine

PAGE = Path(__file__).with_name("docs.html")
LARGEST_BODY = 1_048_576
"""Bytes."""

USUAL = 10
"""Items of an answer."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
OPEN = frozenset({"/health", "/docs", "/openapi.json"})
"""Answered without a token."""


class RecommendRequest(BaseModel):
    """Whom to recommend to: a history, or somebody whom the silo knows."""

    model_config = ConfigDict(extra="forbid")

    history: list[Id] | None = Field(
        None, description="Item ids, the oldest first.", examples=[["50", "181"]]
    )
    user_id: Id | None = Field(None, description="Somebody of this silo.")
    k: int | None = Field(
        None, ge=1, description="How many items; left out: 10, or fewer if that is all."
    )
    exclude: list[Id] = Field([], description="Item ids that are not wanted.")
    exclude_seen: bool = Field(True, description="Leave out what was used before.")

    @model_validator(mode="after")
    def _names_one(self) -> RecommendRequest:
        if (self.history is None) == (self.user_id is None):
            raise ValueError("give either history or user_id")
        return self


class RecommendedItem(BaseModel):
    """One item."""

    item_id: str
    score: float


class RecommendAnswer(BaseModel):
    """The best items, and by which model."""

    items: list[RecommendedItem]
    model_sha256: str = Field(description="Hash of the model that answered.")
    unknown_items: int = Field(description="Of the history, that it does not know.")
    by_popularity: bool = Field(description="It knows none of them.")


def serving_app(
    engine: Engine, *, max_history: int, max_k: int, token_sha256: str | None
) -> FastAPI:
    """The application.

    Args:
        engine: answers.
        max_history: longest history, and longest list of exclusions.
        max_k: most items.
        token_sha256: hash of the token that requests must bear; None: no token.
    """
    app = FastAPI(
        title="silorec", description="Recommendations of one silo, on request.",
        docs_url=None, redoc_url=None,  # They load scripts from elsewhere.
    )  # fmt: skip
    _guard(app, engine, token_sha256)
    _answer_requests(app, engine, max_history, max_k)
    _answer_questions(app, engine)
    return app


def _guard(app: FastAPI, engine: Engine, token_sha256: str | None) -> None:
    """What is refused before it is read, or because it cannot be."""

    @app.middleware("http")
    async def guard(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        refused = _refusal(request, token_sha256)
        if refused is None:
            return await go_on(request)
        engine.metrics.requests.labels(str(refused.status_code)).inc()
        return refused

    @app.exception_handler(RequestValidationError)
    async def unusable(_: Request, error: RequestValidationError) -> Response:
        engine.metrics.requests.labels("422").inc()
        mistakes = [_told(mistake) for mistake in error.errors()]
        return _sentence(422, "; ".join(mistakes))


def _answer_requests(
    app: FastAPI, engine: Engine, max_history: int, max_k: int
) -> None:
    """Recommendations."""

    def refused(status: int, text: str) -> Response:
        engine.metrics.requests.labels(str(status)).inc()
        return _sentence(status, text)

    @app.post("/recommend", response_model=RecommendAnswer)
    async def recommend(asked: RecommendRequest) -> Any:
        """The best items for a history, or for somebody whom the silo knows."""
        began, served = time.perf_counter(), engine.served
        history = asked.history
        if asked.user_id is not None:
            history = engine.people.history(asked.user_id)
        if history is None:
            return refused(404, "nobody of this silo has this user_id")
        if asked.history is not None and len(history) > max_history:
            return refused(422, f"history: at most {max_history} items")
        k = min(USUAL, max_k) if asked.k is None else asked.k
        if k > max_k or len(asked.exclude) > max_history:
            return refused(422, f"k: at most {max_k}; exclude: at most {max_history}")
        answer = served.answer(
            history, k=k, excluded=asked.exclude, exclude_seen=asked.exclude_seen
        )
        engine.metrics.requests.labels("200").inc()
        engine.metrics.seconds.observe(time.perf_counter() - began)
        return JSONResponse(
            {
                "items": [{"item_id": i, "score": s} for i, s in answer.items],
                "model_sha256": answer.model_sha256,
                "unknown_items": answer.unknown,
                "by_popularity": answer.by_popularity,
            }
        )


def _answer_questions(app: FastAPI, engine: Engine) -> None:
    """How it stands, and how it is used."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """This interface, for people; needs nothing from outside."""
        return HTMLResponse(PAGE.read_text("utf-8"))

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether requests are answered."""
        return {"status": "ready"}

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """What answers now."""
        told = engine.served.model
        return {
            "model_sha256": told.sha256,
            "run_id": told.run_id,
            "round": told.round_number,
            "items": len(engine.served.index),
        }

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(
            generate_latest(engine.metrics.registry), media_type=CONTENT_TYPE_LATEST
        )


def _refusal(request: Request, token_sha256: str | None) -> Response | None:
    """Why this request is not even read."""
    if token_sha256 is not None and request.url.path not in OPEN:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        own = hashlib.sha256(given.encode()).hexdigest()
        if not hmac.compare_digest(own, token_sha256):
            return _sentence(401, "the request bears no token, or not this silo's")
    if request.method != "POST":
        return None
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return _sentence(411, "the request does not say how long it is")
    if int(length) > LARGEST_BODY:
        return _sentence(413, f"the request is longer than {LARGEST_BODY} bytes")
    return None


def _told(mistake: Any) -> str:
    """Where and what, without the value."""
    where = ".".join(str(part) for part in mistake["loc"][1:] if part != "body")
    what = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _sentence(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
