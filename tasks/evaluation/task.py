"""Prefect edge of the evaluation room."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.preflight import EvaluationSample
from data_contracts.progress import announce
from data_contracts.records import Subject
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.votes import VoteCount
from data_contracts.workspace import Cohort, SiloReplies, SiloStep
from models.fixed_point import decode_counts
from models.parameters import Vector
from models.recommenders.counting import MarkovChain
from models.recommenders.item_weights import ItemWeights, ease, item_knn, whole_gram
from tasks.evaluation.private_metrics import release_metrics
from tasks.evaluation.results import Evaluation, pooled_sums
from tasks.evaluation.sample import evaluate_sample
from tasks.evaluation.silo_side import (
    Answer,
    Question,
    count_pairs,
    count_popularity,
    count_transitions,
    evaluate_item_weights,
    evaluate_markov_chain,
    evaluate_model,
    evaluate_own_model,
    evaluate_popularity,
    split_sums,
    vote,
)

SumSecurely = Callable[[Cohort, str], SecureSum]

# Above this, the V x V transition counts no longer fit a small machine.
MAX_MARKOV_ITEMS = 12_000
# Above this, inverting the V x V Gram matrix takes minutes and gigabytes.
MAX_GRAM_ITEMS = 8_000


@task(name="Evaluate on silos", cache_policy=NO_CACHE)
def evaluate_on_silos(
    cohort: Cohort,
    sum_securely: SumSecurely,
    model: Vector,
    question: Question,
    subject: Subject = Subject.FEDERATED,
    *,
    with_coverage: bool = False,
) -> Evaluation:
    """Rank every silo's held-out targets by `model`, each inside its silo.

    Args:
        cohort: silos that hold sequences.
        sum_securely: secure aggregation over the contributions of a cohort.
        model: float32 [d].
        question: window, cut-off and what may be shown.
        subject: whose model this is.
        with_coverage: also sum securely which items were recommended at all.
    """
    return _evaluate(
        cohort, sum_securely, subject, question, with_coverage,
        evaluate_model, cohort.broadcast(model),
    )  # fmt: skip


@task(
    name="Vote on silos",
    task_run_name="round-{round_number}-vote",
    cache_policy=NO_CACHE,
)
def vote_on_silos(
    cohort: Cohort,
    sum_securely: SumSecurely,
    accepted: Vector,
    candidate: Vector,
    question: Question,
    max_regression: float,
    round_number: int,
) -> VoteCount:
    """Ask every silo whether the candidate is worse for it than the accepted model.

    Where silos show their metrics they show their votes, and each counts once. Where
    they do not, only the sum of the votes is opened; a silo that lies in it can count
    for more than one, up to what makes the sum impossible, which rejects.

    Args:
        cohort: silos that hold sequences.
        sum_securely: secure aggregation over the contributions of a cohort, once in
            this round.
        accepted: the last accepted model, float32 [d].
        candidate: the one to vote on, float32 [d].
        question: the validation window, and what may be shown.
        max_regression: what fall of its own NDCG a silo puts up with.
        round_number: for the name of the task run.
    """
    replies = cohort.call(
        vote, cohort.broadcast(accepted), cohort.broadcast(candidate), question,
        max_regression, retry=True,
    ).values  # fmt: skip
    if question.evaluation.per_silo_metrics:
        ballots = [b for b in replies.values() if b is not None and b.possible(1)]
        return VoteCount(sum(b.against for b in ballots), sum(b.cast for b in ballots))
    total = decode_counts(sum_securely(cohort.only(replies), "votes").total)
    votes = VoteCount(*total.tolist())
    return votes if votes.possible(len(replies)) else VoteCount(0, 0)


@task(name="Release test metrics", cache_policy=NO_CACHE)
def release_private_metrics(
    cohort: Cohort, model: Vector, question: Question
) -> Evaluation | None:
    """Metrics with the noise that was charged for them; None: none leave a silo."""
    replies = cohort.call(
        release_metrics, cohort.broadcast(model), question, retry=True
    )
    shown = {
        silo: (answer.sums, math.nan)
        for silo, answer in replies.values.items()
        if answer
    }
    if not shown:
        return None
    subject, pooled = Subject.FEDERATED, pooled_sums(shown)
    return Evaluation(subject, question.window, shown, pooled)


@task(name="Evaluate a sample on silos", cache_policy=NO_CACHE)
def evaluate_sample_on_silos(
    cohort: Cohort, model: Vector, question: Question, deadline_seconds: float
) -> SiloReplies[EvaluationSample]:
    """Rank for some users at every silo, timed; their metric sums stay in the silos.

    Args:
        cohort: silos that hold sequences.
        model: float32 [d].
        question: window and cut-off.
        deadline_seconds: silos that take longer are failed.
    """
    announce().stage(f"Evaluating a sample at {len(cohort.silos)} silos")
    return cohort.call(
        evaluate_sample,
        cohort.broadcast(model),
        question,
        deadline_seconds=deadline_seconds,
    )


@task(name="Evaluate what silos reach alone", cache_policy=NO_CACHE)
def evaluate_alone(
    cohort: Cohort, sum_securely: SumSecurely, question: Question
) -> Evaluation:
    """The same for the model that each silo trained alone and keeps."""
    return _evaluate(
        cohort, sum_securely, Subject.LOCAL_ONLY, question, True, evaluate_own_model
    )


def pair_sums(config: EvaluationConfig, num_items: int) -> dict[str, int]:
    """Numbers in the sums over pairs of items that baselines are made of."""
    lengths = {}
    if config.baselines and num_items <= MAX_MARKOV_ITEMS:
        lengths["transitions"] = num_items**2
    if config.baselines and num_items <= MAX_GRAM_ITEMS:
        lengths["item pairs"] = num_items * (num_items + 1) // 2
    return lengths


@task(name="Evaluate counting baselines", cache_policy=NO_CACHE)
def evaluate_baselines(
    cohort: Cohort, sum_securely: SumSecurely, question: Question
) -> tuple[Evaluation, ...]:
    """Popularity and, for catalogues that allow them, Markov chain, ItemKNN and EASE.

    All are made of securely summed counts and equal the pooled model exactly.
    """
    counted = cohort.call(count_popularity, len(cohort.silos))
    members = cohort.only(counted.values)
    popularity = decode_counts(sum_securely(members, "popularity").total)
    results = [
        _evaluate(
            members, sum_securely, Subject.POPULARITY, question, True,
            evaluate_popularity, popularity,
        )
    ]  # fmt: skip
    if len(popularity) <= MAX_MARKOV_ITEMS:
        results.append(_evaluate_chain(members, sum_securely, question, popularity))
    if len(popularity) <= MAX_GRAM_ITEMS:
        results += _evaluate_item_weights(
            members, sum_securely, question, len(popularity)
        )
    return tuple(results)


def _evaluate_chain(
    cohort: Cohort,
    sum_securely: SumSecurely,
    question: Question,
    popularity: NDArray[np.int64],
) -> Evaluation:
    members = cohort.only(cohort.call(count_transitions, len(cohort.silos)).values)
    pairs = decode_counts(sum_securely(members, "transitions").total)
    chain = MarkovChain.from_counts(
        pairs.reshape(len(popularity), len(popularity)), popularity
    )
    return _evaluate(
        members, sum_securely, Subject.MARKOV, question, True,
        evaluate_markov_chain, cohort.broadcast(chain),
    )  # fmt: skip


def _evaluate_item_weights(
    cohort: Cohort, sum_securely: SumSecurely, question: Question, num_items: int
) -> Iterator[Evaluation]:
    """ItemKNN and EASE, both from one sum."""
    members = cohort.only(cohort.call(count_pairs, len(cohort.silos)).values)
    pairs = decode_counts(sum_securely(members, "item pairs").total)
    gram = whole_gram(pairs, num_items)
    regularization = question.evaluation.ease_regularization
    fits: dict[Subject, Callable[[], ItemWeights]] = {
        Subject.ITEM_KNN: lambda: item_knn(gram),
        Subject.EASE: lambda: ease(gram, regularization),
    }
    for subject, fit in fits.items():
        yield _evaluate(
            members, sum_securely, subject, question, True,
            evaluate_item_weights, cohort.broadcast(fit()),
        )  # fmt: skip


def _evaluate(
    cohort: Cohort,
    sum_securely: SumSecurely,
    subject: Subject,
    question: Question,
    with_coverage: bool,
    step: SiloStep[Answer | None],
    *model: Any,
) -> Evaluation:
    replies = cohort.call(step, *model, question, retry=True)
    for failure in replies.failures.values():
        announce().note(
            f"silo {failure.silo} is missing from the {subject} metrics: "
            f"{failure.reason}: {failure.sentence}"
        )
    answers = replies.values
    shown = {
        silo: (answer.sums, answer.recommended / max(answer.stocked, 1))
        for silo, answer in answers.items()
        if answer
    }
    if shown and not with_coverage:
        return Evaluation(subject, question.window, shown, pooled_sums(shown))
    total = decode_counts(
        sum_securely(cohort.only(answers), f"{subject} metrics").total
    )
    sums, recommenders = split_sums(total)
    coverage = float(np.mean(recommenders > 0))
    # Where silos show their sums, these are exact; the secure sum is rounded.
    pooled = pooled_sums(shown) if shown else sums
    return Evaluation(subject, question.window, shown, pooled, coverage)
