"""Running one suite on one table with Great Expectations.

The only file that knows the engine. It is imported on first use: 4 CPU seconds and
280 MB. Three of its habits would carry rows out of a silo, and are stopped here:
results quote offending values (`RESULT_FORMAT` asks for none), results of a failed
computation hold a traceback (dropped), and its log echoes exceptions (silenced). No
data docs are built; they quote values and load from foreign hosts.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from data_contracts.expectations.suite import Expectation, Suite

# Any other format, or a larger partial count, quotes values of the table.
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Outcome:
    """Whether one expectation holds; exact, so it stays inside the silo.

    Attributes:
        expectation: what was expected.
        success: whether it holds; False also if it could not be computed.
        breaking_rows: rows that break it; None where rows were not counted.
    """

    expectation: Expectation
    success: bool
    breaking_rows: int | None


def run_suite(suite: Suite, table: pa.Table) -> tuple[Outcome, ...]:
    """Check `table` against `suite`; outcomes in the suite's order.

    An expectation that cannot be computed, for example because its column is
    missing, has failed; why is not told, since the reason may quote a value.
    """
    _load_engine()
    try:
        results = _validate(suite, table)
    except Exception:  # whatever it says may quote a value
        results = {}
    return tuple(
        _outcome(expectation, results.get(position))
        for position, expectation in enumerate(suite.expectations)
    )


def _load_engine() -> None:
    # 1.24 has no caller left that reports usage; this switch is for releases that do.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    logging.getLogger(great_expectations.__name__).setLevel(logging.CRITICAL + 1)


def _quiet_context() -> Any:
    """A context in memory: no usage statistics, files, data docs or progress bars."""
    from great_expectations import get_context
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    return get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            analytics_enabled=False,
            data_docs_sites={},
            progress_bars=ProgressBarsConfig(globally=False),
            store_backend_defaults=InMemoryStoreBackendDefaults(),
        ),
    )


def _validate(suite: Suite, table: pa.Table) -> dict[int, Any]:
    """Position in the suite -> the engine's result, which comes in any order."""
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.registry import get_expectation_impl

    # Arrow-backed columns are not copied, and integers with nulls stay integers.
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    asset = _quiet_context().data_sources.add_pandas("silo").add_dataframe_asset("t")
    whole = asset.add_batch_definition_whole_dataframe("whole")
    expectations = [
        get_expectation_impl(expectation.kind)(
            **_arguments(expectation), meta={"position": position}
        )
        for position, expectation in enumerate(suite.expectations)
    ]
    validation = whole.get_batch({"dataframe": frame}).validate(
        ExpectationSuite(name=suite.name, expectations=expectations),
        result_format=RESULT_FORMAT,
    )
    return {r.expectation_config.meta["position"]: r for r in validation.results}


def _arguments(expectation: Expectation) -> dict[str, Any]:
    column = {"column": expectation.column} if expectation.column else {}
    return {**column, **expectation.kwargs}


def _outcome(expectation: Expectation, result: Any) -> Outcome:
    if result is None:
        return Outcome(expectation, False, None)
    rows = result.result.get("unexpected_count")
    return Outcome(
        expectation, bool(result.success), None if rows is None else int(rows)
    )
