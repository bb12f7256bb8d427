"""Preprocessing inside a silo: what is cached, what is counted, what is agreed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import SiloInputError
from data_contracts.settings.data import PreprocessingConfig
from data_contracts.tables import SiloTables
from data_contracts.workspace import Contribution
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems, Vocabulary
from tasks.preprocessing.sequences import TimeCuts
from tasks.preprocessing.silo_side import preprocess, stocked_items
from tasks.preprocessing.task import preprocess_on_silos
from tasks.preprocessing.time_cuts import DAYS, SECONDS_PER_DAY, cuts_at, daily_counts
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.open_sum import sum_in_the_open

ITEMS = Vocabulary(f"i{number}" for number in range(8))
CONFIG = PreprocessingConfig(min_interactions_per_user=3)
GLOBAL_TIME = CONFIG.model_copy(update={"protocol": "global-time"})
FIELDS = ("items", "offsets", "train_end", "validation", "test")


def silo_tables(users: int = 4, length: int = 6, hash_: str = "snapshot") -> SiloTables:
    """Users who walk through the items, one item a day, each a day after the last."""
    rows = [
        (f"u{user}", f"i{(user + step) % 8}", (user + step) * SECONDS_PER_DAY)
        for user in range(users)
        for step in range(length)
    ]
    user, item, time = zip(*rows, strict=True)
    table = pa.table(
        {"user_id": user, "item_id": item, "timestamp": pa.array(time, pa.int64())}
    )
    return SiloTables({TableName.INTERACTIONS: table}, hash_)


@pytest.fixture
def cohort(tmp_path):
    cohort = InProcessCohort(("north", "south", "west"), tmp_path)
    for number, workspace in enumerate(cohort.workspaces.values()):
        workspace.put(silo_tables(users=4 + number))
    return cohort


@pytest.fixture
def north(cohort):
    return cohort.workspaces["north"]


def caches(workspace) -> list[str]:
    return sorted(path.name for path in (workspace.folder / "sequences").iterdir())


def test_a_silo_shelves_sequences_vocabulary_catalogue_and_their_sizes(north):
    assert preprocess(north, ITEMS, CONFIG, None, 3) is None
    assert north.get(SequenceData).num_users == 4
    assert north.get(Vocabulary) is ITEMS
    assert north.get(StockedItems).mask.all()
    assert north.get(Contribution).words.tolist() == [4 * (6 - 2 - 1), 4]


def test_the_same_inputs_are_read_from_the_cache_and_not_made_again(north):
    preprocess(north, ITEMS, CONFIG, None, 3)
    made = north.get(SequenceData)
    # The hash says that these are the same rows; only the cache can know better.
    north.put(silo_tables(users=1))
    preprocess(north, ITEMS, CONFIG, None, 3)
    for name in FIELDS:
        assert np.array_equal(
            getattr(north.get(SequenceData), name), getattr(made, name)
        )


@pytest.mark.parametrize(
    "changed",
    [
        {"tables": silo_tables(hash_="another snapshot")},
        {"vocabulary": Vocabulary(f"i{number}" for number in range(7))},
        {"config": PreprocessingConfig(min_interactions_per_user=4)},
        {"cuts": TimeCuts(4 * SECONDS_PER_DAY, 5 * SECONDS_PER_DAY)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_decides_the_result_is_cached_apart(north, changed):
    preprocess(north, ITEMS, CONFIG, None, 3)
    north.put(changed.get("tables", silo_tables()))
    preprocess(
        north,
        changed.get("vocabulary", ITEMS),
        changed.get("config", CONFIG),
        changed.get("cuts"),
        3,
    )
    assert len(caches(north)) == 2


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
def test_a_damaged_cache_is_made_again_once(north, damage):
    preprocess(north, ITEMS, CONFIG, None, 3)
    made, (key,) = north.get(SequenceData), caches(north)
    file = north.folder / "sequences" / key / "users.arrow"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    preprocess(north, ITEMS, CONFIG, None, 3)
    assert np.array_equal(north.get(SequenceData).test, made.test)
    assert file.read_bytes() == whole
    assert caches(north) == [key]


def test_a_silo_with_nothing_to_train_on_says_which_setting_to_change(north):
    strict = PreprocessingConfig(min_interactions_per_user=7)
    with pytest.raises(SiloInputError, match="min_interactions_per_user") as info:
        preprocess(north, ITEMS, strict, None, 3)
    assert "u0" not in info.value.message
    assert not north.has(SequenceData)


def test_a_catalogue_says_which_items_of_the_vocabulary_are_stocked():
    brought = dict(silo_tables().tables)
    assert stocked_items(SiloTables(brought, ""), ITEMS).mask.all()
    brought[TableName.ITEMS] = pa.table({"item_id": ["i5", "unheard-of", "i0", "i0"]})
    stocked = stocked_items(SiloTables(brought, ""), ITEMS)
    assert np.flatnonzero(stocked.mask).tolist() == [0, 5]


def test_the_sizes_that_weights_come_from_are_sums_over_the_silos_that_are_ready(
    cohort,
):
    cohort.workspaces["west"].put(silo_tables(length=2))
    prepared = preprocess_on_silos.fn(cohort, sum_in_the_open, ITEMS, CONFIG)
    assert list(prepared.replies.values) == ["north", "south"]
    assert "west" in prepared.replies.failures
    assert (prepared.total_users, prepared.total_examples) == (4 + 5, 9 * 3)
    assert prepared.cuts is None
    assert prepared.shown_size == "27 training examples"


def test_where_silos_weigh_by_roots_only_the_sum_of_the_roots_is_told(cohort):
    prepared = preprocess_on_silos.fn(
        cohort, sum_in_the_open, ITEMS, CONFIG, weighting="root-examples"
    )
    sizes = [w.get(SequenceData).num_examples for w in cohort.workspaces.values()]
    assert prepared.total_examples == sum(round(256 * n**0.5) for n in sizes)
    assert prepared.shown_size.endswith("roots of training examples")


def test_silos_agree_on_one_moment_by_the_sum_of_their_days_alone(cohort):
    purposes: list[str] = []

    def summed(members, purpose):
        purposes.append(purpose)
        return sum_in_the_open(members, purpose)

    prepared = preprocess_on_silos.fn(cohort, summed, ITEMS, GLOBAL_TIME)
    everybody = np.concatenate(
        [
            workspace.get(SiloTables).tables[TableName.INTERACTIONS]["timestamp"]
            for workspace in cohort.workspaces.values()
        ]
    )
    assert purposes == ["interactions per day", "data sizes"]
    assert prepared.cuts == cuts_at(daily_counts(everybody), 0.8, 0.9)
    before = (everybody < prepared.cuts.validation).mean()
    day_earlier = (everybody < prepared.cuts.validation - SECONDS_PER_DAY).mean()
    assert day_earlier < 0.8 <= before
    latest = cohort.workspaces["west"].get(SequenceData)
    assert latest.held_out_users(Window.VALIDATION).tolist() == [3, 4, 5]
    assert latest.held_out_users(Window.TEST).tolist() == [4, 5]


def test_days_are_counted_by_the_calendar_and_strays_at_the_ends():
    day = SECONDS_PER_DAY
    times = np.array([0, day - 1, day, 3 * day, -5, 10**12])
    counts = daily_counts(times)
    assert (len(counts), counts.dtype) == (DAYS, np.int64)
    assert {int(d): int(counts[d]) for d in np.flatnonzero(counts)} == {
        0: 3, 1: 1, 3: 1, DAYS - 1: 1
    }  # fmt: skip


def test_one_busy_day_does_not_split():
    counts = np.zeros(DAYS, np.int64)
    counts[100] = 50
    assert cuts_at(counts, 0.8, 0.9) == TimeCuts(101 * 86_400, 101 * 86_400)
