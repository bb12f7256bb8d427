import logging
import threading

import pytest

from data_contracts.errors import LineageError
from tasks.serving.engine import Engine, Source
from tests.simulators.served_models import people, served_model

MODELS = {model.model.sha256: model for model in (served_model(1), served_model(2))}
FIRST, SECOND = MODELS


class World:
    """A registry whose champion the test names, and models that may be damaged."""

    def __init__(self) -> None:
        self.champion = FIRST
        self.damaged: set[str] = set()
        self.read = 0

    def load(self, sha256, _):
        if sha256 in self.damaged:
            raise LineageError(f"model {sha256} is damaged")
        return MODELS[sha256]

    def people(self):
        self.read += 1
        return people()

    def engine(self) -> Engine:
        return Engine(Source(lambda: self.champion, self.load, self.people))


@pytest.fixture
def world():
    return World()


def value(engine: Engine, name: str, **labels: str) -> float | None:
    return engine.metrics.registry.get_sample_value(name, labels)


def test_another_champion_is_taken_into_use(world):
    engine = world.engine()
    assert not engine.look()
    world.champion = SECOND
    assert engine.look()
    assert engine.served.model.sha256 == SECOND
    assert value(engine, "silorec_serving_model_swaps_total") == 1
    assert value(engine, "silorec_serving_model_info", model_sha256=SECOND) == 1
    assert value(engine, "silorec_serving_model_info", model_sha256=FIRST) is None


def test_a_damaged_model_leaves_the_old_one_in_use(world, caplog):
    engine = world.engine()
    world.champion, world.damaged = SECOND, {SECOND}
    with caplog.at_level(logging.WARNING):
        assert not engine.look()
    assert engine.served.model.sha256 == FIRST
    assert "is damaged" in caplog.text
    assert value(engine, "silorec_serving_models_refused_total") == 1
    world.damaged = set()
    assert engine.look()


def test_without_a_first_model_nothing_starts(world):
    world.damaged = {FIRST}
    with pytest.raises(LineageError):
        world.engine()


def test_the_tables_are_read_again(world):
    engine = world.engine()
    engine.refresh()
    assert world.read == 2


def test_the_watch_takes_the_next_champion_in_by_itself(world):
    engine = world.engine()
    engine.watch(0.01, 1000)
    world.champion = SECOND
    for _ in range(500):
        if engine.served.model.sha256 == SECOND:
            break
        threading.Event().wait(0.01)
    engine.stop()
    assert engine.served.model.sha256 == SECOND


def test_no_answer_is_made_of_two_models(world):
    """Under constant change, each answer is exactly that of the model it names."""
    engine, wrong, answered, ended = world.engine(), [], [], threading.Event()
    right = {
        name: model.answer(("i03", "i05"), k=5).items for name, model in MODELS.items()
    }
    assert right[FIRST] != right[SECOND]

    def ask():
        while not ended.is_set():
            answer = engine.served.answer(("i03", "i05"), k=5)
            answered.append(answer.model_sha256)
            if answer.items != right[answer.model_sha256]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        world.champion = (FIRST, SECOND)[number % 2]
        engine.look()
        threading.Event().wait(0.005)
    ended.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert set(answered) == {FIRST, SECOND}
