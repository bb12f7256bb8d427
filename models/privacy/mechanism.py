"""The public numbers of a private training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What a private training does; nothing in it depends on anybody's data.

    Attributes:
        clip_norm: L2 bound C of one user's gradient.
        noise_multiplier: standard deviation of the noise over C; 0: off.
        sampling_probability: of a user in a step.
        steps: how many.
        expected_batch: by which the noised sum is divided; never a count of users.
        learning_rate: of Adam.
        context: items of a history that are read.
        negatives: items drawn for sampled softmax; 0: all items are scored.
        averaging: decay of the average over steps that is returned; 0: the last step.
        proximal_strength: pull towards the start (FedProx); 0: none. It follows from
            the model alone, so it costs no privacy.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_probability: float
    steps: int
    expected_batch: float
    learning_rate: float
    context: int
    negatives: int = 0
    averaging: float = 0.0
    proximal_strength: float = 0.0
