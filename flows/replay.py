"""Compute a recorded round again and compare it with its record.

Everything that a round follows from is on record, but for the silos' tables, which must
be what they were. Nothing is recorded: the replay serves a run id of its own, so that
no silo takes it for a second sum of the recorded round.
"""

# No postponed annotations here: Prefect builds the form and its checks from the
# signature of the flow.
import secrets
from functools import partial

from prefect import flow

from data_contracts.code_identity import code_hash
from data_contracts.progress import announce
from data_contracts.replay import Replay
from flows.embedded_server import keep_every_task_run
from models.control_variates import round_start
from tasks.cohort.task import open_cohort
from tasks.global_update.task import (
    initialise_global_model,
    restore_global_model,
    update_global_model,
)
from tasks.ingestion.task import load_silo_tables, prepare_silos
from tasks.lineage.task import publish_replay, read_recorded_rounds
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.task import (
    compare_with_commitments,
    forget_rounds_on_silos,
    train_on_silos,
)
from tasks.preprocessing.task import preprocess_on_silos
from tasks.secure_aggregation.task import aggregate_securely
from tasks.vocabulary.task import admit_items, hide_items_on_silos


@flow(
    name="replay",
    flow_run_name="{run}-round-{round_number}",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def replay(
    run: str,
    round_number: int,
    output_folder: str = "silorec_output",
    from_start: bool = False,
) -> Replay:
    """Compute a recorded round again from its lineage and compare model and updates.

    Args:
        run: id of the run, or its beginning.
        round_number: the round, from 1.
        output_folder: of the run.
        from_start: compute all rounds before it as well, which a server optimizer with
            a memory, a narrow ring and a drift correction need anyway; the first that
            differs ends it.
    """
    recorded = read_recorded_rounds(
        output_folder, run, round_number, from_start=from_start
    )
    config = recorded.config
    invited = [s for s in prepare_silos(config) if s.name in recorded.cohort]
    replay_id = f"replay-of-{recorded.run_id}-{secrets.token_hex(4)}"
    with open_cohort(invited, config, replay_id) as hosts:
        recorded.require_same_data(load_silo_tables(hosts))
        sum_securely = partial(
            aggregate_securely,
            round_number=0,
            config=config.secure_aggregation,
            min_silos=config.cohort.min_silos,
            deadline_seconds=config.cohort.deadline_seconds,
        )
        named = hide_items_on_silos(hosts, config.preprocessing.item_names)
        recorded.require_prepared(named)
        vocabulary = recorded.vocabulary
        prepared = preprocess_on_silos(
            hosts, sum_securely, vocabulary, config.preprocessing,
            weighting=config.server_optimizer.weighting,
        )  # fmt: skip
        recorded.require_prepared(prepared.replies)
        admitted = admit_items(
            hosts,
            sum_securely,
            min_silos_per_item=config.secure_aggregation.min_silos_per_item,
        )
        model = (
            initialise_global_model(
                config.model, vocabulary, config.server_optimizer, recorded.base
            )
            if recorded.from_start
            else restore_global_model(recorded.vector_before(), config.server_optimizer)
        )
        compared, mean, accepted_round = [], None, 0

        for told in recorded.rounds:
            job = RoundJob.of(
                config, told.round_number, told.cuts, hosts.silos,
                prepared.total_examples,
                vocabulary=vocabulary, admitted=admitted,
                last_mean=None if mean is None else mean.update,
                accepted_round=accepted_round,
            )  # fmt: skip
            sent = round_start(
                model, None if mean is None else mean.variate, config.local_training
            )
            cohort = hosts.only(told.commitments)
            trained = train_on_silos(cohort, sent.vector, job, config.cohort)
            same = compare_with_commitments(
                cohort.only(trained.values),
                recorded.run_id,
                told.round_number,
                told.commitments,
            )
            summed = aggregate_securely(
                cohort.only(set(trained.values) & told.contributors),
                "model update",
                told.round_number,
                config.secure_aggregation,
                min_silos=config.cohort.min_silos,
                kind=job.input_kind(sent.vector_hash),
                dealt_as=recorded.run_id,
                deadline_seconds=config.cohort.deadline_seconds,
                apart=True,
            )
            candidate, mean = update_global_model(
                model, summed, job.encoding, config.server_optimizer,
                told.round_number, config.secure_aggregation,
            )  # fmt: skip
            compared.append(recorded.compared(told, candidate.vector, mean, same))
            announce().round(told.round_number, round_number, compared[-1].sentence())
            if not compared[-1].equal:
                break
            if told.accepted:
                model, accepted_round = candidate, told.round_number
        forget_rounds_on_silos(hosts)

    found = Replay(
        run_id=recorded.run_id,
        rounds=tuple(compared),
        cautions=recorded.cautions(code_hash()),
    )
    publish_replay(found)
    return found
