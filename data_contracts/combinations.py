"""What sections of a configuration must not ask for together, and what to set instead.

Each function is about one option: sentences, and whether each of them applies. An
option that is off has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_contracts.run_config import FederatedTrainingConfig

Refusals = Mapping[str, bool]


def complaint(config: FederatedTrainingConfig) -> str:
    """The first sentence that applies; nothing if all goes together."""
    options = (_sources, _drift_correction, _low_rank, _personal, _item_names, _privacy)
    for option in options:
        for sentence, applies in option(config).items():
            if applies:
                return sentence
    return ""


def _sources(config: FederatedTrainingConfig) -> Refusals:
    silos, fewest = config.cohort.silos, config.cohort.min_silos
    if config.data.dataset is not None:
        return {
            "data.dataset and the tables of cohort.silos exclude each other; "
            "remove one": any(silo.sources() for silo in silos)
        }
    without = [silo.name for silo in silos if silo.interactions is None]
    unheard = config.secure_aggregation.complaint_about(len(silos)) if silos else ""
    return {
        "no silo has data: set data.dataset to ml-100k or ml-1m, or list silos with "
        "their tables in cohort.silos": not silos,
        f"silo {''.join(without[:1])} has no interactions table; give "
        "cohort.silos[].interactions.path": bool(without),
        "evaluation.pooled needs a public data set: silorec never pools the tables of "
        "real silos": config.evaluation.pooled,
        f"cohort.min_silos {fewest} is above the {len(silos)} silos listed": (
            len(silos) < fewest
        ),
        unheard: bool(unheard),
    }


def _drift_correction(config: FederatedTrainingConfig) -> Refusals:
    chosen = config.local_training.drift_correction
    if chosen == "none":
        return {}
    secure, option = (
        config.secure_aggregation,
        f"local_training.drift_correction {chosen}",
    )
    return {
        f"{option} sends mean gradients, which privacy.mode has no noise for; set it "
        "to none or privacy.mode to off": config.privacy.on,
        f"{option} sums gradients, for whose range a narrow ring is too coarse; set "
        "secure_aggregation.ring_bits to 32": secure.ring_bits < 32,
        f"{option} needs the mean gradient of every row; set "
        "secure_aggregation.min_silos_per_item to 1": secure.min_silos_per_item > 1,
        f"{option} adds all silos up at once, and no defence compares control "
        "variates; set secure_aggregation.groups to 1, combine to mean and norm_bound "
        "to null": secure.keeps_parts,
        f"{option} needs the mean gradient of every tensor; set model.personal to "
        "none": config.model.personal != "none",
    }


def _low_rank(config: FederatedTrainingConfig) -> Refusals:
    if config.model.low_rank is None:
        return {}
    return {
        "model.low_rank adds to a trained model; set model.init_from to its file": (
            config.model.init_from is None
        ),
        "model.low_rank has no private training; set privacy.mode to off": (
            config.privacy.on
        ),
        "model.low_rank keeps items as they are; set "
        "secure_aggregation.min_silos_per_item to 1": (
            config.secure_aggregation.min_silos_per_item > 1
        ),
        "model.low_rank sends all that it trains; set model.personal to none": (
            config.model.personal != "none"
        ),
        "model.low_rank needs no mean gradient of what cannot change; set "
        "local_training.drift_correction to none": (
            config.local_training.drift_correction != "none"
        ),
    }


def _personal(config: FederatedTrainingConfig) -> Refusals:
    personal = config.model.personal
    if personal == "none":
        return {}
    return {
        f"model.personal {personal} has no private training: privacy.mode noises and "
        "charges a model that all silos share; set model.personal to none or "
        "privacy.mode to off": config.privacy.on,
        "with model.personal items no row of an item is ever sent, so "
        "secure_aggregation.min_silos_per_item has nothing to leave out; set it to 1": (
            personal == "items" and config.secure_aggregation.min_silos_per_item > 1
        ),
    }


def _item_names(config: FederatedTrainingConfig) -> Refusals:
    if config.preprocessing.item_names == "plain":
        return {}
    items = config.model.items
    if items == "auto":
        items = "features" if config.few_people else "table"
    return {
        "preprocessing.item_names keyed-hash hides which items there are, and "
        f"model.items {items} tells the coordinator their titles and categories; set "
        "model.items to table": items != "table",
        "preprocessing.item_names keyed-hash hides items from whoever has no key, as "
        "the pooled data has none; set evaluation.pooled to false": (
            config.evaluation.pooled
        ),
    }


def _privacy(config: FederatedTrainingConfig) -> Refusals:
    if not config.privacy.on:
        return {}
    secure, joint = config.secure_aggregation, config.privacy.mode == "joint"
    enough = config.privacy.colluding_silos + 1
    return {
        "preprocessing.protocol global-time counts interactions per day, which "
        "privacy.mode has no noise for; set it to leave-one-out": (
            config.preprocessing.protocol == "global-time"
        ),
        "model.items table+text has a vector per item, whose clipping under "
        "privacy.mode is not made; set it to text": (
            config.model.items == "table+text"
        ),
        "secure_aggregation.min_silos_per_item counts what people use, which "
        "privacy.mode has no noise for; set it to 1": (secure.min_silos_per_item > 1),
        "privacy.mode joint needs secure_aggregation.mode masked or "
        "two-aggregators: a share of noise alone hides nobody": (
            joint and secure.mode not in {"masked", "two-aggregators"}
        ),
        "privacy.steps_per_round says how many steps a private silo makes; set "
        "local_training.max_steps and max_seconds to null": (
            config.local_training.max_steps is not None
            or config.local_training.max_seconds is not None
        ),
        "private steps have a loss of their own; set local_training.loss to full "
        "(privacy.negatives samples there), users_at_once to null and "
        "recompute_activations to false": (
            config.local_training.loss != "full"
            or config.local_training.users_at_once is not None
            or config.local_training.recompute_activations
        ),
        "privacy.mode joint makes one step a round from the global model, where "
        "local_training.proximal_strength has nothing to pull; set it to 0": (
            joint and config.local_training.proximal_strength > 0
        ),
        "privacy.mode joint adds all silos up at once; set "
        "secure_aggregation.groups to 1, combine to mean and norm_bound to null": (
            joint and secure.keeps_parts
        ),
        f"privacy.mode joint with privacy.colluding_silos "
        f"{config.privacy.colluding_silos} needs cohort.min_silos {enough} or more: "
        "noise that colluders know hides nobody": (
            joint and config.cohort.min_silos < enough
        ),
    }
