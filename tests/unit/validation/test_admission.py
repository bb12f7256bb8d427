"""Who is admitted, and what is said about who is not."""

import pytest

from data_contracts.errors import FailureReason, QuorumLostError
from data_contracts.records import KEYS, ContractRecord
from data_contracts.workspace import SiloFailure, SiloReplies
from tasks.validation.admission import admit
from tasks.validation.results import ExpectationResult

BETWEEN = "expect_column_values_to_be_between"
EXISTS = "expect_column_to_exist"


def result(column, kind=BETWEEN, *, success=False, count="", allowed=""):
    return ExpectationResult(
        suite="interactions",
        suite_version="1",
        table="interactions",
        column=column,
        kind=kind,
        allowed=allowed,
        success=success,
        count=count,
    )


GOOD = (result("rating", success=True, count="0"),)
BAD = (result("rating", count="fewer than 10", allowed="1.0 to 5.0"),)


def decide(values, *, failed=(), loading=(), min_silos=1, silos=None):
    def failures(names):
        return {
            silo: SiloFailure(silo, FailureReason.BAD_INPUT, "no such file")
            for silo in names
        }

    everyone = silos or tuple(sorted({*values, *failed, *loading}))
    replies = SiloReplies(values, failures(failed))
    admission = admit(everyone, replies, failures(loading), run_id="r")
    admission.require_quorum(min_silos)
    return admission


def test_a_quarantined_silo_reads_table_column_expectation_count_and_range():
    decision = decide({"east": GOOD, "north": BAD})
    assert decision.admitted == ("east",)
    assert decision.quarantined == {
        "north": "silo north is quarantined: interactions.rating breaks "
        "`expect_column_values_to_be_between` in fewer than 10 rows "
        "(allowed: 1.0 to 5.0)"
    }


def test_all_broken_expectations_are_named():
    broken = (result("rating", count="20"), *GOOD, result("user_id", "expect_x"))
    sentence = decide({"east": GOOD, "north": broken}).quarantined["north"]
    assert sentence == (
        f"silo north is quarantined: interactions.rating breaks `{BETWEEN}` in 20 "
        "rows; interactions.user_id breaks `expect_x`"
    )


def test_a_missing_column_is_named_without_its_consequences():
    broken = (result("item_id", EXISTS), result("item_id"), result("drift"))
    assert decide({"east": GOOD, "north": broken}).quarantined == {
        "north": "silo north is quarantined: interactions.item_id breaks "
        "`expect_column_to_exist`"
    }


def test_silos_that_failed_are_quarantined_with_their_sentence():
    decision = decide({"east": GOOD}, failed=["north"], loading=["west"])
    assert decision.quarantined == {
        silo: f"silo {silo} is quarantined: no such file" for silo in ("north", "west")
    }


def test_a_later_failure_outweighs_a_kept_contract():
    decision = decide({"east": GOOD, "west": GOOD}, loading=["west"])
    assert decision.admitted == ("east",)


def test_silos_keep_their_order():
    values = dict.fromkeys(("b", "a", "c"), GOOD)
    assert decide(values, silos=("c", "a", "b")).admitted == ("c", "a", "b")


def test_every_result_becomes_a_record_with_a_key_of_its_own():
    records = decide({"east": GOOD, "north": (*BAD, result("user_id"))}).records
    keys = {
        tuple(getattr(record, name) for name in KEYS[ContractRecord])
        for record in records
    }
    assert len(keys) == len(records) == 3
    assert records[1] == ContractRecord(
        run_id="r",
        silo="north",
        suite="interactions",
        suite_version="1",
        table="interactions",
        column="rating",
        expectation=BETWEEN,
        success=False,
        unexpected_count="fewer than 10",
    )


@pytest.mark.parametrize("min_silos", [1, 2])
def test_the_quorum_may_be_met_exactly(min_silos):
    values = {"east": GOOD, "north": BAD, "west": GOOD}
    assert len(decide(values, min_silos=min_silos).admitted) == 2


def test_below_quorum_the_message_lists_every_report_and_what_to_do():
    with pytest.raises(QuorumLostError) as it:
        decide({"east": GOOD, "north": BAD}, loading=["west"], min_silos=2)
    summary, *reports = it.value.message.splitlines()
    assert summary == (
        "1 silos passed the data contract, fewer than cohort.min_silos 2; repair the "
        "tables named below, or adapt `contracts` to what is right for this "
        "federation, and run again."
    )
    assert [report.split(" is ")[0] for report in reports] == [
        "silo north",
        "silo west",
    ]
