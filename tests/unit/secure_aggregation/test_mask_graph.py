"""Many silos: masks and shares among neighbours only."""

from functools import partial
from math import comb

import numpy as np
import pytest

from data_contracts import mask_graph
from data_contracts.errors import ProtocolError, QuorumLostError
from data_contracts.mask_graph import (
    COLLUDING,
    CORRECTNESS_BITS,
    MOST_COMPLETE,
    PRIVACY_BITS,
    VANISHING,
    sparse_graph,
    usual_neighbours,
)
from tasks.secure_aggregation.graph import Graph
from tasks.secure_aggregation.unmasking import masks_to_remove
from tests.simulators.secure_round import (
    SecureRound,
    integer_sum,
    random_inputs,
    stranger_keys,
    terms_for,
)

# As if the limit were lower: what silos do does not depend on where it lies.
N = 60
K = sparse_graph(N).neighbours


def tail(n: int, marked: int, drawn: int, least: int) -> float:
    """P(at least `least` of `drawn` others are marked), hypergeometric."""
    ways = sum(
        comb(marked, hit) * comb(n - 1 - marked, drawn - hit)
        for hit in range(least, min(marked, drawn) + 1)
    )
    return ways / comb(n - 1, drawn)


@pytest.mark.parametrize("n", [201, 300, 500, 1000])
def test_the_bounds_hold_for_every_silo_at_once(n):
    graph = sparse_graph(n)
    colluding, vanishing = int(COLLUDING * n), int(VANISHING * n)
    opened = tail(n, colluding, graph.neighbours, graph.threshold)
    stuck = tail(n, vanishing, graph.neighbours, graph.neighbours - graph.threshold + 1)
    assert n * opened <= 2**-PRIVACY_BITS
    assert n * stuck <= 2**-CORRECTNESS_BITS
    missing, half = colluding + vanishing, graph.neighbours // 2
    assert n * comb(missing, half) / comb(n, half) <= 2**-PRIVACY_BITS


@pytest.mark.parametrize("n", [201, 500, 1000])
def test_no_smaller_graph_would_do(n):
    k = sparse_graph(n).neighbours - 2
    colluding, vanishing = int(COLLUDING * n), int(VANISHING * n)
    fits = [
        t
        for t in range(1, k + 1)
        if n * tail(n, colluding, k, t) <= 2**-PRIVACY_BITS
        and n * tail(n, vanishing, k, k - t + 1) <= 2**-CORRECTNESS_BITS
    ]
    missing = colluding + vanishing
    together = n * comb(missing, k // 2) / comb(n, k // 2) <= 2**-PRIVACY_BITS
    assert not fits or not together


def test_every_pair_up_to_the_limit_and_known_sizes_above():
    assert usual_neighbours(MOST_COMPLETE) == 0
    assert [usual_neighbours(n) for n in (201, 500, 1000)] == [50, 60, 68]
    with pytest.raises(ValueError, match="complete graph"):
        sparse_graph(3)


def rosters(names):
    """U1 with these silos; keys depend on the name alone."""
    round_ = SecureRound(terms_for(3), random_inputs(3, 1))
    real = round_.advertise()
    return type(real)(real.context, 1, tuple(stranger_keys(name) for name in names))


def test_the_graph_is_regular_mutual_and_drawn_from_all_keys():
    names = [f"silo-{i}" for i in range(50)]
    graph = Graph(rosters(names), 8)
    circles = {name: graph.circle(name) for name in names}
    assert {len(circle) for circle in circles.values()} == {9}
    for name, circle in circles.items():
        assert name in circle
        assert all(name in circles[other] for other in circle)
        assert list(circle) == [n for n in names if n in circle]
    other = Graph(rosters(names[:-1]), 8)
    assert sum(other.circle(n) == circles[n] for n in names[:-1]) < 5


@pytest.mark.parametrize("neighbours", [0, 9, 10])
def test_few_silos_share_with_all(neighbours):
    names = [f"silo-{i}" for i in range(10)]
    assert Graph(rosters(names), neighbours).circle("silo-3") == tuple(names)


@pytest.fixture
def inputs():
    return random_inputs(N, 2)


@pytest.fixture
def sparse(inputs, monkeypatch):
    monkeypatch.setattr(mask_graph, "MOST_COMPLETE", N - 1)
    return SecureRound(terms_for(N, neighbours=K), inputs)


MESSAGES = ["KeyAdvertisement", "SealedShares", "MaskedInput", "Confirmation"]


def test_silos_may_vanish_in_every_phase_and_the_sum_is_exact(sparse, inputs):
    gone = {f"silo-{7 * i + 1}": MESSAGES[i % 4] for i in range(8)}
    sparse.gone = set(gone.items())
    total = sparse.run()
    summed = {s: w for s, w in inputs.items() if gone.get(s, "Con")[:3] == "Con"}
    assert len(summed) == N - 6
    assert total.tolist() == integer_sum(summed)
    sent = sparse.server._dealt["silo-2"]
    assert len(sent.boxes) <= K + 1


def test_an_upload_still_hides_the_input(sparse, inputs):
    sparse.upload(sparse.share(sparse.advertise()))
    masks = np.concatenate([sparse.uploads[s] - inputs[s] for s in inputs])
    # The mean of uniform words, to five standard errors.
    assert abs((masks / 2.0**32).mean() - 0.5) < 5 * (12 * len(masks)) ** -0.5


def test_a_silo_whose_neighbours_are_gone_cannot_be_opened_and_is_named(sparse):
    sparse.reveal(sparse.confirm(sparse.upload(sparse.share(sparse.advertise()))))
    server = sparse.server
    circle, few = server._circles["silo-7"], sparse.terms.share_threshold - 1
    left = {s: r for s, r in server._revealed.items() if s not in circle[few:]}
    opened = partial(
        masks_to_remove, sparse.terms, server._roster, server._dealers, server._dealt,
        server._uploads,
    )  # fmt: skip
    with pytest.raises(QuorumLostError, match=rf"{few} silos hold shares of silo-\d"):
        opened(left)
    assert len(opened(server._revealed)) == N


def test_another_number_of_neighbours_is_refused():
    for neighbours in (2, 48, 52):
        with pytest.raises(ProtocolError, match="must be 0 or 50"):
            terms_for(201, neighbours=neighbours).check()
    with pytest.raises(ProtocolError, match="must be 0 or 0"):
        terms_for(10, neighbours=4).check()
