"""The shared vocabulary: what a silo names, what is counted, what is admitted."""

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import QuorumLostError, SiloInputError
from data_contracts.settings.training import ModelConfig
from data_contracts.tables import SiloTables
from data_contracts.workspace import Contribution
from models.item_features import ItemDescription
from models.sequences import SequenceData
from models.vocabulary import Vocabulary
from tasks.vocabulary.silo_side import (
    MIN_USERS_TO_NAME_AN_ITEM,
    count_items,
    describe_items,
    name_catalogue,
)
from tasks.vocabulary.task import (
    admit_items,
    agree_on_vocabulary,
    describe_vocabulary,
)
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.open_sum import sum_in_the_open
from tests.simulators.synthetic_tables import described_catalogue as catalogue_of

FEATURES = ModelConfig(items="features")
KEPT = "not needed: no text is encoded here"


def tables(pairs, catalogue=None) -> SiloTables:
    """Interactions (user, item); the items table where there is a catalogue."""
    users, items = zip(*pairs, strict=True)
    brought = {TableName.INTERACTIONS: pa.table({"user_id": users, "item_id": items})}
    if catalogue is not None:
        brought[TableName.ITEMS] = pa.table({"item_id": catalogue})
    return SiloTables(brought, "hash")


def users_of(item: str, users: int, times: int = 1):
    return [(f"u{user}", item) for user in range(users)] * times


@pytest.fixture
def cohort(tmp_path):
    def with_tables(**silos: SiloTables) -> InProcessCohort:
        cohort = InProcessCohort(silos, tmp_path)
        for silo, brought in silos.items():
            cohort.workspaces[silo].put(brought)
        return cohort

    return with_tables


def test_a_silo_names_its_catalogue_sorted_and_once(cohort):
    north = cohort(north=tables([("u", "z")], catalogue=["b", "a", "b"]))
    assert name_catalogue(north.workspaces["north"]) == ("a", "b")


def test_without_a_catalogue_an_item_that_few_people_touched_is_never_named(cohort):
    """However often they touched it: many rows of four users still point at four."""
    few, enough = MIN_USERS_TO_NAME_AN_ITEM - 1, MIN_USERS_TO_NAME_AN_ITEM
    pairs = users_of("rare", few, times=9) + users_of("b", enough) + users_of("a", 9)
    north = cohort(north=tables(pairs))
    assert name_catalogue(north.workspaces["north"]) == ("a", "b")


def test_a_silo_counts_the_catalogues_items_and_no_others(cohort):
    north = cohort(north=tables(users_of("a", 3) + users_of("mine", 7)))
    workspace = north.workspaces["north"]
    assert count_items(workspace, ("a", "unheard-of"), 3) is None
    assert workspace.get(Contribution).words.tolist() == [3, 0]


def test_a_silo_without_any_item_of_the_catalogue_fails_without_naming_one(cohort):
    north = cohort(north=tables(users_of("secret-item", 3)))
    with pytest.raises(SiloInputError, match="check the item_id columns") as info:
        count_items(north.workspaces["north"], ("a", "b"), 3)
    assert "secret-item" not in info.value.message


def test_items_are_admitted_by_their_count_over_all_silos(cohort):
    catalogue = ["a", "b", "c"]
    members = cohort(
        north=tables(users_of("a", 2) + users_of("b", 2), catalogue),
        south=tables(users_of("a", 3) + users_of("b", 2), catalogue),
        west=tables(users_of("c", 9), ["c", "d"]),
    )
    agreed = agree_on_vocabulary.fn(
        members, sum_in_the_open, min_interactions_per_item=5
    )
    assert agreed == Vocabulary(["a", "c"])
    assert members.steps == ["name_catalogue", "count_items"]


def test_a_silo_that_knows_no_item_of_the_others_is_left_out_of_the_count(cohort):
    members = cohort(
        north=tables(users_of("a", 5), ["a"]), south=tables(users_of("b", 5), ["a"])
    )
    agreed = agree_on_vocabulary.fn(
        members, sum_in_the_open, min_interactions_per_item=5
    )
    assert agreed.items == ("a",)


def test_a_vocabulary_of_nothing_stops_the_run_with_a_sentence(cohort):
    members = cohort(north=tables(users_of("a", 2), ["a"]))
    with pytest.raises(QuorumLostError, match="no item has 5 interactions"):
        agree_on_vocabulary.fn(members, sum_in_the_open, min_interactions_per_item=5)


def test_a_vocabulary_is_known_by_its_items_in_order():
    vocabulary = Vocabulary(["ä", "b"])
    assert vocabulary.index == {"ä": 0, "b": 1}
    assert (vocabulary.size, len(vocabulary.sha256)) == (2, 64)
    hashes = {Vocabulary(v).sha256 for v in (["ä", "b"], ["b", "ä"], ["äb"], ['ä","b'])}
    assert len(hashes) == 4


def trained_on(items, held_out=()) -> SequenceData:
    """One person who touched `items`, then `held_out`."""
    whole = np.array([*items, *held_out], dtype=np.int32)
    return SequenceData(
        items=whole,
        offsets=np.array([0, len(whole)]),
        train_end=np.array([len(items)]),
        validation=np.array([-1]),
        test=np.array([-1]),
    )


@pytest.fixture
def trainers(cohort):
    """Item 0 in every silo, 1 in two, 2 in one, 3 only held out, 4 nowhere."""
    silos = cohort(north=None, south=None, west=None)
    for silo, data in {
        "north": trained_on([0, 1, 0], held_out=[3]),
        "south": trained_on([1, 0], held_out=[3]),
        "west": trained_on([0, 2, 2, 2], held_out=[3]),
    }.items():
        silos.workspaces[silo].put(data)
        silos.workspaces[silo].put(Vocabulary("abcde"))
    return silos


@pytest.mark.parametrize(
    ("bound", "admitted"), [(1, None), (2, [1, 1, 0, 0, 0]), (3, [1, 0, 0, 0, 0])]
)
def test_items_that_too_few_silos_train_on_are_left_out(trainers, bound, admitted):
    found = admit_items.fn(trainers, sum_in_the_open, min_silos_per_item=bound)
    assert admitted == (found if found is None else found.tolist())


def test_a_bound_that_no_item_reaches_is_refused(trainers):
    with pytest.raises(QuorumLostError, match="min_silos_per_item"):
        admit_items.fn(trainers, sum_in_the_open, min_silos_per_item=4)


def test_without_a_catalogue_no_item_is_named_where_only_public_facts_count(cohort):
    north = cohort(north=tables(users_of("a", 9)))
    with pytest.raises(SiloInputError, match=r"give cohort.silos\[\].items.path"):
        name_catalogue(north.workspaces["north"], public_only=True)


def test_a_silo_describes_the_items_that_are_asked_for_and_no_others(cohort):
    north = cohort(north=catalogue_of(a=("Heat (1995)", "Crime"), b=(None, None)))
    told = describe_items(north.workspaces["north"], ("a", "b", "unheard-of"))
    assert told == {
        "a": ItemDescription("Heat (1995)", "Crime"),
        "b": ItemDescription(),
    }


def test_the_first_silo_that_knows_an_item_describes_it(cohort):
    silos = cohort(
        north=catalogue_of(a=("A", "Crime"), b=("B", "Crime")),
        south=catalogue_of(a=("A", "Drama"), b=("B", "Drama"), c=("C", "Drama")),
    )
    vocabulary = describe_vocabulary.fn(
        silos, Vocabulary("abc"), FEATURES, few_people=False, cache_folder=KEPT
    )
    assert vocabulary.items == ("a", "b", "c")
    assert vocabulary.feature_names == ("every item", "category Crime")
    crime = vocabulary.features.values[:, 1]
    assert crime[0] == crime[1] > 0 > crime[2]


def test_catalogues_without_a_word_stop_the_run_with_a_sentence(cohort):
    silos = cohort(north=tables(users_of("a", 5), ["a"]))
    with pytest.raises(QuorumLostError, match=r"set model\.items table"):
        describe_vocabulary.fn(
            silos, Vocabulary("a"), FEATURES, few_people=True, cache_folder=KEPT
        )


@pytest.mark.parametrize(
    ("items", "few_people"), [("table", True), ("table", False), ("auto", False)]
)
def test_a_table_of_items_needs_no_description(cohort, items, few_people):
    silos = cohort(north=catalogue_of(a=("A", "Crime")))
    vocabulary, model = Vocabulary("a"), ModelConfig(items=items)
    described = describe_vocabulary.fn(
        silos, vocabulary, model, few_people=few_people, cache_folder=KEPT
    )
    assert described is vocabulary
    assert silos.steps == []


def test_few_people_get_features_where_there_are_any(cohort):
    known = cohort(
        north=catalogue_of(a=("A", "Crime"), b=("B", "Crime"), c=("C", "Drama"))
    )
    found = describe_vocabulary.fn(
        known, Vocabulary("abc"), ModelConfig(), few_people=True, cache_folder=KEPT
    )
    assert found.feature_names == ("every item", "category Crime")


def test_few_people_get_a_table_where_nothing_is_known(cohort):
    unknown = cohort(north=tables(users_of("a", 5), ["a"]))
    vocabulary = Vocabulary("a")
    found = describe_vocabulary.fn(
        unknown, vocabulary, ModelConfig(), few_people=True, cache_folder=KEPT
    )
    assert found is vocabulary
