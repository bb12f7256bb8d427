"""The audit passes the trainer that silos use, and catches what an audit can see."""

from dataclasses import replace

import pytest

from data_contracts.privacy_audit import AuditVerdict
from data_contracts.settings.audit import parse_audit_config
from models.privacy.clipping import engine
from tasks.local_training.private_trainer import train_privately
from tasks.privacy_audit.audit import audit_trainer

pytestmark = pytest.mark.slow

SMALL = parse_audit_config(
    {
        "population": {"users": 400, "items": 60, "history_length": 6},
        "canaries": {"dirac": 1000, "data": 60},
        "training": {"steps": 40, "epsilon": 4.0},
    },
    origin="test",
)


def with_noise_times(factor):
    def trainer(module, data, mechanism, block):
        weaker = replace(
            mechanism, noise_multiplier=mechanism.noise_multiplier * factor
        )
        train_privately(module, data, weaker, block)

    return trainer


def clip_times_100(module, data, mechanism, block):
    honest = engine.clip_factors
    engine.clip_factors = lambda norms, clip: honest(norms, 100 * clip)
    try:
        train_privately(module, data, mechanism, block)
    finally:
        engine.clip_factors = honest


def test_the_trainer_of_the_silos_passes():
    assert audit_trainer(SMALL, train_privately).verdict is AuditVerdict.PASS


MUTANTS = {
    "noise off": with_noise_times(0.0),
    "noise / 4": with_noise_times(0.25),
    "clip x 100": clip_times_100,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_trainer_is_flagged(mutant):
    result = audit_trainer(SMALL, MUTANTS[mutant])
    assert result.verdict in {AuditVerdict.FAIL, AuditVerdict.WARN}
    dirac = result.findings[0]
    assert dirac.estimate_low > SMALL.training.epsilon
