"""Errors that cross processes, and what a silo's failure is called."""

import pickle
from collections.abc import Iterator

import pytest

import data_contracts.errors
from data_contracts.errors import (
    FailureReason,
    SiloError,
    SilorecError,
    UsageError,
)


def tree(root: type[SilorecError] = SilorecError) -> Iterator[type[SilorecError]]:
    yield root
    for branch in root.__subclasses__():
        yield from tree(branch)


OURS = [error for error in tree() if error.__module__ == data_contracts.errors.__name__]


@pytest.mark.parametrize("error", OURS)
def test_an_error_survives_the_way_between_processes(error):
    back = pickle.loads(pickle.dumps(error("what, where, and what to do")))
    assert type(back) is error
    assert back.message == str(back) == "what, where, and what to do"


def test_the_callers_mistakes_and_the_silos_troubles_are_two_branches():
    both = [e for e in OURS if issubclass(e, UsageError) and issubclass(e, SiloError)]
    assert both == []
    assert len(OURS) > 10


@pytest.mark.parametrize("error", [e for e in OURS if issubclass(e, SiloError)])
def test_every_trouble_of_a_silo_has_a_reason(error):
    assert error.reason in FailureReason
    assert pickle.loads(pickle.dumps(error("sentence"))).reason is error.reason
