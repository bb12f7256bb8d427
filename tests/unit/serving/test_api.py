import hashlib
import logging

import pytest
from fastapi.testclient import TestClient

from tasks.serving.api import LARGEST_BODY, serving_app
from tasks.serving.engine import Engine, Source
from tests.simulators.served_models import HISTORIES, people, served_model

SERVED = served_model(3)
TOKEN = "a-token-of-thirty-two-letters-xx"


def client(token: str | None = None) -> TestClient:
    source = Source(lambda: SERVED.model.sha256, lambda *_: SERVED, people)
    hashed = None if token is None else hashlib.sha256(token.encode()).hexdigest()
    app = serving_app(Engine(source), max_history=20, max_k=15, token_sha256=hashed)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def api():
    return client()


def items(answer) -> list[str]:
    return [item["item_id"] for item in answer.json()["items"]]


def test_a_history_is_answered(api):
    answer = api.post("/recommend", json={"history": ["i03", "i05"], "k": 4})
    assert answer.status_code == 200
    wanted = [item for item, _ in SERVED.answer(("i03", "i05"), k=4).items]
    assert items(answer) == wanted
    assert answer.json()["model_sha256"] == SERVED.model.sha256
    assert answer.json()["unknown_items"] == 0


def test_somebody_whom_the_silo_knows_is_answered_by_what_they_used(api):
    answer = api.post("/recommend", json={"user_id": "ada", "exclude": ["i20"]})
    wanted = SERVED.answer(HISTORIES["ada"], k=10, excluded=("i20",))
    assert items(answer) == [item for item, _ in wanted.items]


def test_a_stranger_is_answered_with_one_sentence_that_names_nobody(api):
    answer = api.post("/recommend", json={"user_id": "zoe"})
    assert answer.status_code == 404
    assert answer.json() == {"error": "nobody of this silo has this user_id"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "give either history or user_id"),
        ({"history": ["i01"], "user_id": "ada"}, "give either history or user_id"),
        ({"history": ["i01"], "k": 0}, "k:"),
        ({"history": ["i01"], "k": 16}, "k: at most 15"),
        ({"history": ["i01"] * 21}, "history: at most 20 items"),
        ({"history": ["i01"], "exclude": ["x"] * 21}, "exclude: at most 20"),
        ({"history": [""]}, "history.0:"),
        ({"history": ["secret-person" * 30]}, "history.0:"),
        ({"history": "i01"}, "history:"),
        ({"history": ["i01"], "colour": "secret-person"}, "colour:"),
        ({"user_id": 7}, "user_id:"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_sentence(api, body, told):
    answer = api.post("/recommend", json=body)
    assert answer.status_code == 422
    assert told in answer.json()["error"]
    assert "secret-person" not in answer.text


def test_what_is_no_json_is_refused_without_repeating_it(api):
    answer = api.post("/recommend", content=b"{secret-person")
    assert answer.status_code == 422
    assert "secret-person" not in answer.text


def test_what_is_too_long_is_not_read(api):
    answer = api.post("/recommend", content=b" " * (LARGEST_BODY + 1))
    assert answer.status_code == 413


def test_what_does_not_say_how_long_it_is_is_not_read(api):
    answer = api.post("/recommend", content=iter([b"{}"]))
    assert answer.status_code == 411


@pytest.mark.parametrize("given", [None, "", "Bearer ", "Bearer wrong", TOKEN])
@pytest.mark.parametrize("path", ["/recommend", "/model", "/metrics"])
def test_without_the_token_nothing_is_told(given, path):
    guarded = client(TOKEN)
    headers = {} if given is None else {"Authorization": given}
    if given == TOKEN:
        headers = {"Authorization": f"Basic {TOKEN}"}
    answer = guarded.request(
        "POST" if path == "/recommend" else "GET", path, headers=headers,
        json={"user_id": "ada"} if path == "/recommend" else None,
    )  # fmt: skip
    assert answer.status_code == 401


def test_with_the_token_everything_is(api):
    guarded = client(TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = guarded.post("/recommend", json={"user_id": "ada"}, headers=headers)
    assert answer.status_code == 200
    assert guarded.get("/health").json() == {"status": "ready"}


def test_the_model_in_use_is_told(api):
    assert api.get("/model").json() == {
        "model_sha256": SERVED.model.sha256,
        "run_id": "run-3",
        "round": 3,
        "items": 30,
    }


def test_metrics_count_answers_and_name_nobody(api, caplog):
    with caplog.at_level(logging.DEBUG, logger="silorec"):
        api.post("/recommend", json={"user_id": "ada"})
        api.post("/recommend", json={"user_id": "zoe"})
    text = api.get("/metrics").text
    assert 'silorec_serving_requests_total{status="200"} 1.0' in text
    assert 'silorec_serving_requests_total{status="404"} 1.0' in text
    assert "silorec_serving_request_seconds_count 1.0" in text
    for told in (text, caplog.text):
        assert "ada" not in told
        assert "zoe" not in told


def test_the_interface_describes_itself(api):
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/recommend", "/health", "/model", "/metrics"} <= set(paths)
    assert api.get("/docs").status_code == 200
