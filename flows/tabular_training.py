"""Train a line or a small network over silos with plain tables: the worked examples.

The same rooms as a recommender's training, with rows that are made up inside the silos,
so that the result can be held against pooled rows. Deployed by module:
`flows.tabular_training`.
"""

# No postponed annotations here: Prefect builds the form from the signature.
import secrets
from functools import partial

from prefect import flow

from data_contracts.progress import announce
from data_contracts.tabular import TabularResult, TabularTrainingConfig
from flows.embedded_server import keep_every_task_run
from tasks.cohort.task import open_cohort
from tasks.global_update.task import update_global_model
from tasks.reporting.task import write_tabular_page
from tasks.secure_aggregation.task import aggregate_securely, say_what_is_exposed
from tasks.tabular.task import (
    compare_with_oracle,
    fit_on_silos,
    make_rows_on_silos,
    rounds_of,
    start_of,
)


@flow(
    name="tabular-training",
    flow_run_name="{config.example}",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def tabular_training(config: TabularTrainingConfig) -> TabularResult:
    """Fit one model to tables that never leave their silo, as a worked example.

    Rows are made up, and differ from silo to silo. Ends with a page that holds the
    federated model against pooled rows and against each silo alone.

    Args:
        config: which example, and its settings.
    """
    run_id = f"{config.example}-{secrets.token_hex(4)}"
    with open_cohort(config.cohort.silos, config.kept_apart, run_id) as cohort:
        say_what_is_exposed(cohort.silos, config.secure_aggregation)
        sum_securely = partial(
            aggregate_securely,
            config=config.secure_aggregation,
            min_silos=config.cohort.min_silos,
            deadline_seconds=config.cohort.deadline_seconds,
        )
        job = make_rows_on_silos(cohort, partial(sum_securely, round_number=0), config)
        model, losses = start_of(config), []
        announce().stage(f"Fitting {config.example} in rounds")
        for round_number in rounds_of(config):
            fitted = fit_on_silos(cohort, model.vector, job, round_number)
            summed = sum_securely(
                cohort.only(fitted.values), "model update", round_number,
                kind=job.input_kind(model.vector_hash),
            )  # fmt: skip
            model, mean = update_global_model(
                model, summed, job.encoding, config.server_optimizer, round_number
            )
            losses.append(mean.loss)
            told = f"training loss {mean.loss:.4f}"
            announce().round(round_number, len(rounds_of(config)), told)
    result = compare_with_oracle(config, model.vector, losses, run_id)
    write_tabular_page(result, config.output_folder)
    return result
