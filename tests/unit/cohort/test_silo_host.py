"""What a silo lets out when a step fails: our own sentences, never anybody's text."""

import inspect
import pickle
import threading
import time

import pytest

from data_contracts.code_identity import code_hash
from data_contracts.errors import (
    ContractFailedError,
    FailureReason,
    NotFiniteError,
    ProtocolError,
    SiloError,
    SiloInputError,
    UsageError,
)
from data_contracts.settings.cohort import SiloConfig
from data_contracts.workspace import SiloFailure
from tasks.cohort.host import SiloHost

CANARY = "user-4711@example.org"


@pytest.fixture
def host(tmp_path):
    return SiloHost(SiloConfig(name="north"), "run-1", str(tmp_path / "north"))


def quotes_a_row(workspace):
    raise ValueError(f"could not convert string to float: {CANARY}")


def quotes_it_in_the_cause(workspace):
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        raise RuntimeError(CANARY) from error


def quotes_it_in_a_note(workspace):
    error = TypeError()
    error.add_note(CANARY)
    raise error


def quotes_it_in_a_group(workspace):
    raise ExceptionGroup(CANARY, [ValueError(CANARY)])


def quotes_it_inside_a_library(workspace):
    return int(CANARY)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (quotes_a_row, "ValueError"),
        (quotes_it_in_the_cause, "RuntimeError"),
        (quotes_it_in_a_note, "TypeError"),
        (quotes_it_in_a_group, "ExceptionGroup"),
        (quotes_it_inside_a_library, "ValueError"),
    ],
)
def test_of_other_peoples_exceptions_only_the_type_and_our_line_leave(host, step, kind):
    failure = host.run(step)
    lines, first = inspect.getsourcelines(step)
    file, line = failure.sentence.removeprefix(f"{kind} at ").split(":")
    assert file == "tests/unit/cohort/test_silo_host.py"
    assert first < int(line) < first + len(lines)
    assert (failure.silo, failure.reason) == ("north", FailureReason.CRASHED)
    assert CANARY.encode() not in pickle.dumps(failure)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SiloError, FailureReason.CRASHED),
        (SiloInputError, FailureReason.BAD_INPUT),
        (ContractFailedError, FailureReason.CONTRACT_FAILED),
        (NotFiniteError, FailureReason.NOT_FINITE),
        (ProtocolError, FailureReason.DROPPED_OUT),
        (UsageError, FailureReason.CRASHED),
    ],
)
def test_our_own_sentences_leave_with_their_reason(host, error, reason):
    def fails(workspace):
        raise error("the items table has no item_id; map it") from ValueError(CANARY)

    assert host.run(fails) == SiloFailure(
        "north", reason, "the items table has no item_id; map it"
    )


def test_a_step_gets_the_silos_workspace_and_its_reply_comes_back(host, tmp_path):
    def reply(workspace, *args):
        return workspace.silo, workspace.run_id, workspace.folder, args

    assert host.run(reply, 1, "two") == (
        "north",
        "run-1",
        tmp_path / "north",
        (1, "two"),
    )
    assert (tmp_path / "north").is_dir()


def test_what_a_step_shelves_is_there_for_the_next_even_after_a_failure(host):
    host.run(lambda workspace: workspace.put(41))
    host.run(quotes_a_row)
    assert host.run(lambda workspace: workspace.get(int)) == 41


def test_progress_names_the_running_step_and_starts_afresh_with_each(host):
    def half(workspace):
        workspace.progress.fraction = 0.5

    def idle(workspace):
        return None

    host.run(half)
    assert host.progress() == (0.5, "half")
    host.run(idle)
    assert host.progress() == (0.0, "idle")


def test_a_silo_tells_how_far_it_is_while_a_step_runs_and_runs_one_at_a_time(host):
    begun, go_on, inside = threading.Event(), threading.Event(), []

    def waits(workspace):
        inside.append("waits")
        begun.set()
        go_on.wait(10)
        inside.append("done")

    def comes_second(workspace):
        inside.append("second")

    one = threading.Thread(target=host.run, args=(waits,))
    two = threading.Thread(target=host.run, args=(comes_second,))
    one.start()
    assert begun.wait(10)
    two.start()
    time.sleep(0.05)
    assert host.progress()[1] == "waits"
    go_on.set()
    one.join()
    two.join()
    assert inside == ["waits", "done", "second"]


def test_a_silo_says_which_code_it_runs(host):
    assert host.code_hash() == code_hash()
    assert len(code_hash()) == 64
