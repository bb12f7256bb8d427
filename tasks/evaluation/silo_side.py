"""Evaluation steps that run inside a silo.

Every step shelves its sums for a secure sum and returns them only where the
federation shows per-silo metrics to the coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import SiloInputError
from data_contracts.personal_parts import part_up_to
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.settings.training import ModelConfig
from data_contracts.votes import VoteCount
from data_contracts.workspace import Contribution, SiloWorkspace
from models.fixed_point import encode_counts
from models.full_ranking import Ranking, Scorer, rank_held_out
from models.parameters import AloneModel, Vector, vector_hash, write_vector
from models.personal_part import PersonalPart
from models.ranking_metrics import MetricSums
from models.recommenders.building import history_scorer, layout_over
from models.recommenders.counting import (
    MarkovChain,
    popularity_counts,
    transition_counts,
)
from models.recommenders.item_weights import ItemWeights, pair_counts
from models.recommenders.warm import warm_recommender
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems, Vocabulary
from tasks.evaluation.own_scores import known, remember

# Metric sums travel as whole numbers of 1/256: at most 2 millionths of a user's
# metric are lost in a silo of a thousand users.
SUM_UNIT = 256
NUM_SUMS = 5


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to evaluate and how.

    Attributes:
        window: which held-out targets.
        model: architecture of vectors.
        evaluation: cut-off, candidates, and whether sums may be shown.
        num_silos: silos in the secure sum.
        own_part: the round whose personal tensors go with the model; None: the model is
            taken as it is.
        accepted_round: the same for the model that a vote compares it with.
    """

    window: Window
    model: ModelConfig
    evaluation: EvaluationConfig
    num_silos: int
    own_part: int | None = None
    accepted_round: int = 0

    @classmethod
    def of(
        cls, config: FederatedTrainingConfig, window: Window, silos: tuple[str, ...]
    ) -> Question:
        """The question that a run asks its silos about one window."""
        return cls(
            window=window,
            model=config.model,
            evaluation=config.evaluation,
            num_silos=len(silos),
        )

    def in_round(self, round_number: int, accepted_round: int = 0) -> Question:
        """The same, asked of the model that a round made.

        Each silo takes the personal tensors that it trained with it.
        """
        return replace(self, own_part=round_number, accepted_round=accepted_round)


@dataclass(frozen=True)
class Answer:
    """One silo's sums, shown where the federation allows it.

    Attributes:
        sums: metric sums over the silo's users.
        recommended: items in anybody's first k.
        stocked: items that could have been.
    """

    sums: MetricSums
    recommended: int
    stocked: int


def ranking_of(workspace: SiloWorkspace, model: Vector, question: Question) -> Ranking:
    """Where the given model ranks the silo's held-out targets; stays in the silo."""
    return _ranking(workspace, scorer_of(workspace, model, question), question)


def evaluate_model(
    workspace: SiloWorkspace, model: Vector, question: Question
) -> Answer | None:
    """Rank the silo's held-out targets by the given model."""
    own = own_model(workspace, model, question)
    ranking = _ranking(workspace, scorer_of(workspace, own, question), question)
    if question.window is Window.VALIDATION:
        remember(workspace, vector_hash(own), ranking.sums)
    return _told(workspace, ranking, question)


def vote(
    workspace: SiloWorkspace,
    accepted: Vector,
    candidate: Vector,
    question: Question,
    max_regression: float,
) -> VoteCount | None:
    """This silo's vote: is the candidate worse for it than the last accepted model?

    Against it if the NDCG on the silo's own held-out targets falls by more than
    `max_regression` of what the accepted model reaches; a silo without targets
    abstains. The ballot is shelved for a secure sum, and returned only where the
    federation shows per-silo metrics, of which it then says nothing new.
    """
    question_before = replace(question, own_part=question.accepted_round)
    before = _own_sums(
        workspace, own_model(workspace, accepted, question_before), question
    )
    after = _own_sums(workspace, own_model(workspace, candidate, question), question)
    floor = before.means()["ndcg"] * (1.0 - max_regression)
    against = not after.means()["ndcg"] >= floor
    ballot = VoteCount(int(against), 1) if after.users else VoteCount(0, 0)
    words = np.array([ballot.against, ballot.cast])
    workspace.put(Contribution(encode_counts(words, question.num_silos)))
    return ballot if question.evaluation.per_silo_metrics else None


def evaluate_own_model(workspace: SiloWorkspace, question: Question) -> Answer | None:
    """The same for the model that this silo trained alone and keeps."""
    own = workspace.get(AloneModel).vector
    return _answer(workspace, scorer_of(workspace, own, question), question)


def evaluate_popularity(
    workspace: SiloWorkspace, popularity: NDArray[np.int64], question: Question
) -> Answer | None:
    """The same for one ranking of all items: log of shares, most popular first."""
    shares = np.log((popularity + 1.0) / (popularity + 1.0).sum())
    scores = shares.astype(np.float32)
    return _answer(
        workspace, lambda histories: np.tile(scores, (len(histories), 1)), question
    )


def evaluate_markov_chain(
    workspace: SiloWorkspace, chain: MarkovChain, question: Question
) -> Answer | None:
    """The same for the Markov chain; its scores are no log-probabilities."""
    return _answer(
        workspace, lambda histories: np.stack([*map(chain.score, histories)]), question
    )


def evaluate_item_weights(
    workspace: SiloWorkspace, model: ItemWeights, question: Question
) -> Answer | None:
    """The same for EASE or ItemKNN; their scores are no log-probabilities."""
    return _answer(workspace, model.score, question)


def count_popularity(workspace: SiloWorkspace, num_silos: int) -> None:
    """Shelve training counts of items [V] for a secure sum."""
    data, size = workspace.get(SequenceData), workspace.get(Vocabulary).size
    workspace.put(Contribution(encode_counts(popularity_counts(data, size), num_silos)))


def count_transitions(workspace: SiloWorkspace, num_silos: int) -> None:
    """Shelve training counts of item pairs [V * V] for a secure sum."""
    data, size = workspace.get(SequenceData), workspace.get(Vocabulary).size
    counts = transition_counts(data, size).ravel()
    workspace.put(Contribution(encode_counts(counts, num_silos)))


def count_pairs(workspace: SiloWorkspace, num_silos: int) -> None:
    """Shelve users who have both items of a pair [V * (V + 1) / 2] for a secure sum."""
    data, size = workspace.get(SequenceData), workspace.get(Vocabulary).size
    workspace.put(Contribution(encode_counts(pair_counts(data, size), num_silos)))


def split_sums(total: NDArray[np.int64]) -> tuple[MetricSums, NDArray[np.int64]]:
    """(metric sums, silos that recommend each item [V]) behind a secure sum."""
    return MetricSums(*(total[:NUM_SUMS] / SUM_UNIT).tolist()), total[NUM_SUMS:]


def _answer(
    workspace: SiloWorkspace, scorer: Scorer, question: Question
) -> Answer | None:
    return _told(workspace, _ranking(workspace, scorer, question), question)


def _ranking(workspace: SiloWorkspace, scorer: Scorer, question: Question) -> Ranking:
    data, stocked = workspace.get(SequenceData), candidates_for(workspace, question)
    return rank_held_out(scorer, data, question.window, stocked, question.evaluation.k)


def _told(
    workspace: SiloWorkspace, ranking: Ranking, question: Question
) -> Answer | None:
    workspace.put(contribution_of(ranking, question.num_silos))
    if not question.evaluation.per_silo_metrics:
        return None
    stocked = int(candidates_for(workspace, question).mask.sum())
    return Answer(ranking.sums, int(ranking.recommended.sum()), stocked)


def candidates_for(workspace: SiloWorkspace, question: Question) -> StockedItems:
    """The items that compete in this silo."""
    stocked = workspace.get(StockedItems)
    if question.evaluation.candidates == "vocabulary":
        return StockedItems(np.ones_like(stocked.mask))
    return stocked


def _own_sums(
    workspace: SiloWorkspace, model: Vector, question: Question
) -> MetricSums:
    name, own = vector_hash(model), known(workspace).sums
    if name not in own:
        scorer = scorer_of(workspace, model, question)
        remember(workspace, name, _ranking(workspace, scorer, question).sums)
    return own[name]


def contribution_of(ranking: Ranking, num_silos: int) -> Contribution:
    """Metric sums and recommended items, ready for a secure sum.

    Raises:
        SiloInputError: the scores were not finite.
    """
    sums = np.array(ranking.sums.values())
    if not np.isfinite(sums).all():
        raise SiloInputError("the model's scores are not finite numbers")
    counts = np.concatenate(
        [np.rint(sums * SUM_UNIT).astype(np.int64), ranking.recommended]
    )
    return Contribution(encode_counts(counts, num_silos))


def own_model(workspace: SiloWorkspace, model: Vector, question: Question) -> Vector:
    """The model [d] with the tensors that this silo trained for itself, if any are.

    Raises:
        SiloError: the silo's own part is damaged.
    """
    if question.model.personal == "none" or question.own_part is None:
        return model
    layout = layout_over(question.model, workspace.get(Vocabulary))
    part = part_up_to(workspace.folder, workspace.run_id, question.own_part)
    return PersonalPart.of(question.model, layout).merged(model, part)


def scorer_of(workspace: SiloWorkspace, model: Vector, question: Question) -> Scorer:
    """Scores by the silo's module, set to these parameters, float32 [d]."""
    module = warm_recommender(workspace, question.model)
    write_vector(module, model)
    return history_scorer(module, question.model.context)
