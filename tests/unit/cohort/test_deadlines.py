"""Deadlines follow from what a silo took itself, and from nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from data_contracts.settings.cohort import CohortConfig
from tasks.cohort.deadlines import Deadlines

TRAIN, SUM = ("train_round", ""), ("upload_masked_input", "model update")
SECONDS = st.floats(0.001, 1000)


def fresh() -> Deadlines:
    return Deadlines.of(CohortConfig())


def test_what_a_silo_has_not_done_before_has_the_longest_deadline():
    assert fresh().seconds("north", TRAIN) == 3600


@given(st.lists(SECONDS, min_size=1))
def test_a_silo_may_always_take_five_times_what_it_took(took):
    deadlines = fresh()
    for seconds in took:
        deadlines.learn("north", TRAIN, seconds)
    assert deadlines.seconds("north", TRAIN) == min(3600, max(300, 5 * max(took)))


@given(SECONDS, SECONDS)
def test_how_fast_others_are_changes_nothing(fast, slow):
    alone, among_others = fresh(), fresh()
    for deadlines in (alone, among_others):
        deadlines.learn("south", TRAIN, slow)
    for other in ("north", "west", "east"):
        among_others.learn(other, TRAIN, fast)
    assert alone.seconds("south", TRAIN) == among_others.seconds("south", TRAIN)


def test_a_short_sum_says_nothing_of_a_long_one():
    deadlines = fresh()
    deadlines.learn("north", ("upload_masked_input", "item counts"), 0.01)
    assert deadlines.seconds("north", SUM) == 3600
