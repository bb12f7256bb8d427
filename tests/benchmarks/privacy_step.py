"""What privacy costs a training step: `make bench-privacy`, first part.

The same model, batch and optimiser without privacy, with it, and with Opacus' own
engines, in turns within one run; one JSON line per figure. Steps are SGD at 32 bits,
time is CPU time of one thread, memory is what a step adds at its peak.
"""

from __future__ import annotations

import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention
from torch.profiler import ProfilerActivity, profile

from data_contracts.settings.training import ModelConfig
from models.losses import full_cross_entropy
from models.privacy.clipping.engine import BookKeeping
from models.privacy.randomness import os_seeded_generator
from models.recommenders.building import build_recommender
from models.recommenders.sequence_recommender import SequenceRecommender

MODEL = ModelConfig(dim=64, blocks=2, heads=2, context=50, dropout=0.0)
USERS, CLIP, NOISE, RATE = 32, 0.5, 1.0, 0.1
NEGATIVES = 512
REPEATS = 7
