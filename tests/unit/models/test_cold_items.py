"""Items that nobody has used: known by their text, ranked before they are trained."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from data_contracts.settings.training import LocalTrainingConfig, ModelConfig
from models.cold_items import asking_for, rank_cold_targets, untrained_items
from models.item_features import text_features
from models.parameters import read_vector, write_vector
from models.personal_part import PersonalPart
from models.recommenders.building import (
    ITEM_ROWS,
    build_recommender,
    history_scorer,
    initial_vector,
    layout_over,
    table_of,
)
from models.recommenders.feature_items import TableAndFeatureItems
from models.scored_items import ScoredItems
from models.sequences import SequenceData, Window
from models.vocabulary import FEATURE_NAMES, StockedItems, Vocabulary
from tasks.global_update.initialisation import warm_start
from tasks.local_training.trainer import train

ITEMS, GENRES = 24, 3
CONFIG = ModelConfig(
    dim=16, context=8, dropout=0.0, items="table+text", text_encoder="minilm"
)
TRAINING = LocalTrainingConfig(
    epochs=30, batch_size=16, learning_rate=1e-2, precision="float32"
)
COLD = np.arange(ITEMS) >= ITEMS - GENRES  # one of each genre
EVERYTHING = StockedItems(np.ones(ITEMS, dtype=bool))


def texts(seed: int = 0) -> np.ndarray:
    """Vectors of texts: item i is of genre i % 3, and a little itself."""
    noise = np.random.default_rng(seed).normal(size=(ITEMS, 6))
    genre = np.eye(GENRES, 6)[np.arange(ITEMS) % GENRES]
    return (3 * genre + 0.3 * noise).astype(np.float32)


FEATURES = text_features(texts())


def people(number: int = 90) -> SequenceData:
    """Each reads one genre; the last target is the genre's item that nobody trained."""
    order, items = np.random.default_rng(5), []
    for user in range(number):
        of_genre = np.arange(user % GENRES, ITEMS - GENRES, GENRES)
        items.append([*order.permutation(of_genre), ITEMS - GENRES + user % GENRES])
    length = len(items[0])
    end = np.full(number, length - 1)
    return SequenceData(
        np.concatenate(items).astype(np.int32),
        np.arange(number + 1) * length,
        end,
        np.full(number, -1),
        end,
    )


def trained(config: ModelConfig, mask: np.ndarray | None = None):
    module = build_recommender(config, ITEMS, FEATURES)
    write_vector(module, initial_vector(config, ITEMS, FEATURES))
    scored = None if mask is None else ScoredItems.of(mask, torch.device("cpu"))
    train(
        module, people(), TRAINING, context=8, learning_rate=1e-2, seed=1, scored=scored
    )
    return module


@pytest.mark.parametrize("items", ["text", "table+text"])
def test_a_new_item_is_ranked_by_its_text(items):
    """Among 24 items, the right one of three that nobody has ever used."""
    config = CONFIG.model_copy(update={"items": items})
    module = trained(config, ~COLD)
    found = rank_cold_targets(
        history_scorer(module, 8), people(), Window.TEST, EVERYTHING, 3
    )
    assert found.users == 90
    assert found.means()["hr"] > 0.9


def test_rows_of_items_that_nobody_trained_stay_zero_and_others_move():
    rows = trained(CONFIG, ~COLD).items.rows.detach()
    assert torch.equal(rows[COLD], torch.zeros_like(rows[COLD]))
    assert (rows[~COLD].abs().max(dim=1).values > 0).all()


def test_rows_of_new_items_that_compete_are_pushed_away():
    """Why they do not: as a mere negative, an item loses what its text says."""
    rows = trained(CONFIG).items.rows.detach()
    assert (rows[COLD].abs().max(dim=1).values > 0).all()


def test_at_first_an_item_is_its_text_alone():
    module = build_recommender(CONFIG, ITEMS, FEATURES)
    write_vector(module, initial_vector(CONFIG, ITEMS, FEATURES))
    module.eval()
    text = torch.from_numpy(FEATURES.values) @ module.items.projection
    assert torch.equal(module.items.weight, text)
    with torch.no_grad():
        module.items.rows[3] += 1
    assert torch.allclose(module.items.weight[3], text[3] + 1)
    assert torch.allclose(module.items(torch.tensor([3, 4])), module.items.weight[3:5])


def test_hidden_rows_are_hidden_at_both_ends_of_a_batch_and_never_later():
    items = TableAndFeatureItems(torch.zeros(1000, 2), 1000, 4, hidden=0.3)
    torch.nn.init.zeros_(items.projection)
    torch.nn.init.ones_(items.rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        read = items(torch.arange(1000))
        assert torch.equal(read, items.weight)
        assert 0.25 < (read[:, 0] == 0).float().mean() < 0.35
        assert not torch.equal(read, items(torch.arange(1000)))
    items.eval()
    assert torch.equal(items(torch.arange(1000)), torch.ones(1000, 4))


def test_a_saved_model_knows_rows_and_text():
    vocabulary = Vocabulary([f"i{n}" for n in range(ITEMS)], FEATURES)
    layout = layout_over(CONFIG, vocabulary)
    module = trained(CONFIG, ~COLD)
    tensors = layout.split(read_vector(module)) | vocabulary.frozen
    assert table_of(layout) == ITEM_ROWS
    assert tensors[ITEM_ROWS].shape == (ITEMS, 16)
    file = load(save(tensors))
    names = {FEATURE_NAMES: json.dumps(vocabulary.feature_names)}
    known = Vocabulary.of_model(vocabulary.items, file, names)
    assert known == vocabulary
    again = build_recommender(CONFIG, ITEMS, known.features)
    write_vector(again, layout.join({name: file[name] for name in layout.names}))
    histories = [np.array([1, 4, 7], np.int32)]
    scores = [history_scorer(one, 8)(histories) for one in (module, again)]
    assert np.array_equal(*scores)


def test_rows_that_are_kept_out_of_sums_are_those_of_the_table():
    layout = layout_over(CONFIG, Vocabulary(map(str, range(ITEMS)), FEATURES))
    chosen = PersonalPart.of(CONFIG, layout).selection(~COLD, table_of(layout))
    vector = initial_vector(CONFIG, ITEMS, FEATURES)
    vector[:] = 1
    kept = layout.split(chosen.spread(chosen.pick(vector), layout.size))
    assert np.array_equal(kept[ITEM_ROWS].any(axis=1), ~COLD)
    assert kept["items.projection"].all()


def test_a_model_of_text_alone_has_no_rows_to_keep_out():
    config = CONFIG.model_copy(update={"items": "text"})
    layout = layout_over(config, Vocabulary(map(str, range(ITEMS)), FEATURES))
    assert PersonalPart.of(config, layout).selection(~COLD, table_of(layout)) is None


def test_a_warm_start_keeps_the_rows_of_known_items_and_leaves_new_ones_zero():
    known = Vocabulary(map(str, range(ITEMS)), FEATURES)
    now = Vocabulary([*map(str, range(1, ITEMS)), "new"], FEATURES)
    saved = layout_over(CONFIG, known).split(read_vector(trained(CONFIG, ~COLD)))
    start = warm_start(
        CONFIG, now, saved | known.frozen, known.items, known.feature_names
    )
    rows = layout_over(CONFIG, now).split(start)[ITEM_ROWS]
    assert np.array_equal(rows[:-1], saved[ITEM_ROWS][1:])
    assert not rows[-1].any()


def test_features_of_texts_are_alike_where_texts_are():
    values = FEATURES.values
    assert FEATURES.names[:2] == ("every item", "text 0")
    assert np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
    alike = values @ values.T
    assert alike[0, 3] > alike[0, 1] + 0.3


def test_a_coordinate_that_all_texts_share_is_not_blown_up():
    vectors = texts()
    vectors[:, 5] = 7 + 1e-7 * vectors[:, 5]
    assert np.abs(text_features(vectors).values[:, 6]).max() < 1e-3


def test_only_targets_that_training_never_saw_are_cold():
    data = people(6)
    assert np.array_equal(untrained_items(data, ITEMS), COLD)
    known = asking_for(data, ~COLD)
    assert not len(known.held_out_users(Window.TEST))
    one = asking_for(data, np.arange(ITEMS) == ITEMS - 1)
    assert one.held_out_users(Window.TEST).tolist() == [2, 5]
    assert not len(one.held_out_users(Window.VALIDATION))
