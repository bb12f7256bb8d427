"""The model, how silos train it, and how their updates become one model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from data_contracts.settings.base import Section

Weighting = Literal["examples", "root-examples", "uniform"]


class ModelConfig(Section):
    """What encodes a history of items and scores the next one."""

    architecture: Literal["transformer", "hstu", "two-tower"] = Field(
        "transformer",
        description="transformer: SASRec body with rotary positions. hstu: gated "
        "attention that adds up instead of choosing, for histories whose amount "
        "counts. two-tower: the mean of a history and its last item through dense "
        "layers; cheapest, knows no order.",
    )
    dim: int = Field(64, ge=8, le=8192, description="Width of item vectors and blocks.")
    blocks: int = Field(2, ge=1, le=96, description="Transformer blocks.")
    heads: int = Field(1, ge=1, le=128, description="Attention heads; must divide dim.")
    context: int = Field(
        100, ge=2, le=8192, description="Longest history the model reads, in items."
    )
    items: Literal["auto", "table", "features", "text", "table+text"] = Field(
        "auto",
        description="table: a trained vector for each item. features: a small trained "
        "map of what catalogues say of items (categories, year in the title), which "
        "suits few users, private training and items that nobody has used yet. text: "
        "the same of what a pretrained text_encoder makes of titles and categories. "
        "table+text: that, and a vector for each item, which begins at zero. auto: "
        "features in private runs with fewer than 100,000 declared users in all whose "
        "catalogues describe items, else table.",
    )
    title_words: bool = Field(
        False, description="Let features include the words that titles share."
    )
    text_encoder: str | None = Field(
        None,
        description="For items text and table+text: a local folder in the format of "
        "Hugging Face (config.json, tokenizer.json, safetensors), or minilm. Read "
        "where the run is started, never by silos; nothing is downloaded.",
    )
    hidden_rows: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="For items table+text: share of items whose own vector is hidden "
        "from a training batch, so that text must be enough more often.",
    )
    personal: Literal["none", "items", "norms", "top"] = Field(
        "none",
        description="What each silo trains for itself and never sends (FedPer): items: "
        "its item table, so that only the encoder is shared. norms: the layer norms "
        "(FedBN). top: the last block and the norm behind it.",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout while training.")
    init_from: str | None = Field(
        None,
        description="Start from this checkpoint (.safetensors with a vocabulary "
        "beside it, as `publish_model` writes); left out: random.",
    )
    low_rank: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="LoRA: the model of init_from stays as it is; silos train, and "
        "send, additions of this rank to the linear layers of its blocks. Left out: "
        "all of the model is trained.",
    )
    init_seed: int = Field(0, ge=0, description="Seed of the random initialisation.")

    @property
    def reads_text(self) -> bool:
        """Whether items are described by a text encoder."""
        return self.items in {"text", "table+text"}

    @model_validator(mode="after")
    def _text_needs_an_encoder(self) -> ModelConfig:
        if self.reads_text and self.text_encoder is None:
            raise ValueError(
                f"items {self.items} needs text_encoder: the folder of a pretrained "
                "encoder, or minilm"
            )
        return self

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> ModelConfig:
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(
                f"dim {self.dim} over heads {self.heads} must be a whole, even number"
            )
        return self


class LocalTrainingConfig(Section):
    """What each silo does with the global model in one round."""

    epochs: int = Field(
        4, ge=0, le=1000, description="Passes over the silo's data in a round."
    )
    batch_size: int = Field(
        32, ge=1, le=65536, description="Users' sequences in one step."
    )
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="Local optimiser; its state starts afresh each round."
    )
    learning_rate: float = Field(
        8e-3, gt=0, le=10, description="Peak local learning rate."
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="Decoupled weight decay.")
    clip_norm: float = Field(
        5.0, gt=0, description="Gradients are clipped to this L2 norm."
    )
    scored_items: Literal["auto", "stocked", "trained", "vocabulary"] = Field(
        "auto",
        description="Items that compete in the loss. stocked: what the silo's "
        "catalogue has or its people used, which is better where catalogues differ, "
        "and the same where they do not. vocabulary: every item of every silo, so that "
        "each silo moves each row of the item table; private runs always do. trained: "
        "what its people used in training, so that new items are never pushed away; "
        "auto is this where model.items has text. auto otherwise: those that "
        "evaluation.candidates ranks.",
    )
    loss: Literal["full", "sampled"] = Field(
        "full",
        description="full: cross entropy over all items that compete; suits up to some "
        "50,000. sampled: over the target and `negatives` others, corrected for the "
        "sampling.",
    )
    negatives: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="Items that the sampled loss compares each target with, drawn anew "
        "for every step, or for every piece of one.",
    )
    users_at_once: int | None = Field(
        None,
        ge=1,
        description="A step works on so many sequences at a time and adds their "
        "gradients up, for models that leave no memory for `batch_size`; left out: "
        "all at once.",
    )
    recompute_activations: bool = Field(
        False,
        description="Compute activations inside blocks again for the gradient instead "
        "of keeping them: a third more time, much less memory.",
    )
    windows: Literal["all", "random", "last"] = Field(
        "all",
        description="What a pass reads of a history longer than `context` items: "
        "window after window until all is read, a random one, or the last one.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Arithmetic of the catalogue-wide products; auto takes bfloat16 "
        "where the hardware multiplies it natively.",
    )
    seed: int = Field(
        0, ge=0, description="Seed of data order and dropout; protects nothing."
    )
    proximal_strength: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="FedProx: pull towards the model that the round began with (mu); "
        "0: none.",
    )
    drift_correction: Literal["none", "scaffold"] = Field(
        "none",
        description="scaffold: each step is corrected by the mean gradient of all "
        "silos less the silo's own, for silos whose data differ; twice the bytes of a "
        "round. Proven for optimizer sgd.",
    )
    max_steps: int | None = Field(
        None,
        ge=1,
        description="Optimiser steps of a silo in a round at most, so that big silos "
        "go no further than small ones; left out: all passes.",
    )
    max_seconds: float | None = Field(
        None,
        gt=0,
        description="Seconds after which a silo begins no further step of a round; "
        "what it learns then depends on its speed, and no replay can repeat it. Left "
        "out: all passes.",
    )
    max_update_norm: float | None = Field(
        None,
        gt=0,
        description="An update longer than this L2 norm is shortened to it inside the "
        "silo, before it is weighted and encoded; left out: not bounded.",
    )

    @property
    def update_vectors(self) -> int:
        """Vectors of the model's length in an update: it, and a control variate."""
        return 1 if self.drift_correction == "none" else 2


class ScheduleConfig(Section):
    """How many rounds, and how the run reacts to its own evaluation."""

    rounds: int = Field(10, ge=1, le=100_000, description="Rounds of training.")
    warmup_rounds: int = Field(
        1, ge=0, description="Rounds over which the local learning rate rises."
    )
    decay: Literal["cosine", "constant"] = Field(
        "cosine", description="Course of the local learning rate over rounds."
    )
    max_regression: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A candidate whose validation metric falls by more than this "
        "share of the best is rejected and the old model kept.",
    )
    acceptance: Literal["metric", "vote"] = Field(
        "metric",
        description="metric: the pooled validation metric decides on a candidate. "
        "vote: each silo compares it with the last accepted model on its own data, and "
        "a majority against it rejects it.",
    )
    learning_rate_cut: float = Field(
        0.5,
        gt=0,
        le=1,
        description="After a rejected round the learning rate is multiplied by this.",
    )
    patience: int = Field(
        5,
        ge=1,
        description="Stop early after this many rounds without a better metric.",
    )


class ServerOptimizerConfig(Section):
    """How the mean update moves the global model (Reddi et al. 2021)."""

    name: Literal["sgd", "momentum", "nesterov", "adam", "yogi"] = Field(
        "sgd",
        description="sgd with learning rate 1 is plain federated averaging; momentum "
        "is FedAvgM, nesterov DiLoCo's outer optimiser, adam FedAdam, yogi FedYogi.",
    )
    learning_rate: float = Field(1.0, gt=0, le=100, description="Server step size.")
    momentum: float = Field(0.9, ge=0, lt=1, description="First-moment decay.")
    second_momentum: float = Field(
        0.99, ge=0, lt=1, description="Second-moment decay of adam and yogi."
    )
    epsilon: float = Field(
        1e-3, gt=0, description="Adaptivity floor of adam and yogi (tau)."
    )
    weighting: Weighting = Field(
        "examples",
        description="Weight of a silo: its number of training examples, the square "
        "root of it, so that a big silo does not drown small ones, or one each.",
    )
