import numpy as np
import pytest
import torch

from models.dropout import dropped
from models.losses import ROW_STEP, full_cross_entropy
from models.parameters import layout_of, read_vector, write_vector
from models.recommenders.building import (
    build_recommender,
    history_scorer,
    initial_vector,
    layout_for,
)
from models.recommenders.rotary import rotary_angles, rotate
from models.recommenders.sequence_recommender import ARCHITECTURES
from tests.simulators.sequence_samples import TINY_MODEL

ITEMS = 20


def model(architecture: str):
    return TINY_MODEL.model_copy(update={"architecture": architecture})


@pytest.fixture(params=ARCHITECTURES)
def module(request):
    """Every architecture, with its first parameters."""
    config = model(request.param)
    module = build_recommender(config, ITEMS)
    write_vector(module, initial_vector(config, ITEMS))
    return module.eval()


@pytest.fixture
def transformer():
    module = build_recommender(TINY_MODEL, ITEMS)
    write_vector(module, initial_vector(TINY_MODEL, ITEMS))
    return module.eval()


def test_a_later_item_never_changes_an_earlier_state(module):
    histories = torch.randint(ITEMS, (3, 10), generator=torch.manual_seed(0))
    changed = histories.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % ITEMS
    before, after = module.encode(histories), module.encode(changed)
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert not torch.allclose(before[:, 6:], after[:, 6:], atol=1e-3)


def test_padding_on_the_right_changes_no_score(module):
    score = history_scorer(module, context=12)
    short, long = np.array([3, 1], np.int32), np.arange(9, dtype=np.int32)
    together, alone = score([short, long]), score([short])
    assert np.allclose(together[0], alone[0], atol=1e-5)


def test_attention_sees_distances_and_not_places():
    """Rotating query and key leaves a product that depends on their distance only."""
    cosine, sine = rotary_angles(12, 8)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.manual_seed(1))
    turned_q = rotate(query.expand(1, 1, 12, 8), cosine, sine)
    turned_k = rotate(key.expand(1, 1, 12, 8), cosine, sine)
    products = (turned_q @ turned_k.transpose(-1, -2))[0, 0]
    for distance in (0, 3, 7):
        diagonal = products.diagonal(-distance)
        assert torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-5)
    assert abs(float(products[3, 0] - products[7, 0])) > 1e-3


def test_parameters_survive_the_way_through_the_flat_vector(transformer):
    vector = read_vector(transformer)
    layout = layout_of(transformer)
    assert layout == layout_for(TINY_MODEL, ITEMS)
    assert np.array_equal(layout.join(layout.split(vector)), vector)
    other = build_recommender(TINY_MODEL, ITEMS)
    vector.setflags(write=False)  # as it comes out of shared memory
    write_vector(other, vector)
    assert np.array_equal(read_vector(other), vector)


@pytest.mark.parametrize("rows", [1, ROW_STEP - 1, ROW_STEP, 1024, 2500])
def test_chunked_cross_entropy_is_torchs_own(rows):
    torch.manual_seed(rows)
    hidden = torch.randn(rows, 8, requires_grad=True)
    table = torch.randn(50, 8, requires_grad=True)
    targets = torch.randint(50, (rows,))
    ours = full_cross_entropy(hidden, table, targets, torch.float32)
    theirs = torch.nn.functional.cross_entropy(hidden @ table.T, targets)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    expected = torch.autograd.grad(theirs, (hidden, table))
    for gradient, wanted in zip(
        torch.autograd.grad(ours, (hidden, table)), expected, strict=True
    ):
        assert torch.allclose(gradient, wanted, atol=1e-6, rtol=1e-4)


def test_bfloat16_products_stay_close_to_float32():
    torch.manual_seed(0)
    hidden, table = torch.randn(600, 16), torch.randn(80, 16)
    targets = torch.randint(80, (600,))
    exact, low = (
        full_cross_entropy(hidden, table, targets, dtype).item()
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert low == pytest.approx(exact, rel=5e-3)
    assert low != exact


def test_no_targets_give_no_loss():
    nothing = torch.empty(0, 8), torch.randn(5, 8), torch.empty(0, dtype=torch.long)
    assert full_cross_entropy(*nothing, torch.float32).item() == 0.0


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5])
def test_dropout_has_the_right_rate_and_expectation(probability):
    torch.manual_seed(0)
    x = torch.ones(400_003)
    y = dropped(x, probability, training=True)
    rate = float((y == 0).float().mean())
    deviation = (probability * (1 - probability) / len(x)) ** 0.5
    quantum = 1 / 512  # probabilities are multiples of 1/256
    assert abs(rate - probability) < quantum + 4 * deviation
    assert abs(rate - 1.1 * probability) > quantum + 4 * deviation
    assert float(y.mean()) == pytest.approx(1.0, abs=5 * deviation / (1 - probability))
    assert torch.equal(dropped(x, probability, training=False), x)
