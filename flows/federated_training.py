"""Train one shared recommender on data that never leaves its silo.

The coordinator's pipeline, top to bottom: admit silos, agree on a vocabulary, train in
rounds, compare, publish. Deployed by module: `flows.federated_training`.
"""

# No postponed annotations here: Prefect builds the form and its checks from the
# signature of the flow, and must find the class itself there.
from dataclasses import replace
from functools import partial

from prefect import flow
from prefect.runtime import flow_run

from data_contracts.progress import announce
from data_contracts.records import ModelVersionRecord, Subject
from data_contracts.round_outcome import RoundOutcome
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.stopwatch import Stopwatch, now_utc
from flows.crashed_flow_runs import mark_as_crashed
from flows.embedded_server import keep_every_task_run
from flows.observed import observed
from flows.waiting import waiting_for_silos
from models.agreement import agreement_hash
from models.control_variates import round_start
from models.sequences import Window
from tasks.cohort.task import bring_silos_back, open_cohort
from tasks.evaluation.silo_side import Question
from tasks.evaluation.task import (
    evaluate_alone,
    evaluate_baselines,
    evaluate_on_silos,
    pair_sums,
    release_private_metrics,
    vote_on_silos,
)
from tasks.global_update.acceptance import accept_unseen, rule_on
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.ingestion.task import load_silo_tables, pooled_silos, prepare_silos
from tasks.lineage.run_lifecycle import recorded_run
from tasks.lineage.run_members import note_silos_of_run, silos_of_run
from tasks.lineage.run_state import RunState
from tasks.lineage.task import (
    continue_run,
    load_checkpoint,
    publish_model,
    read_history,
    record_admission,
    record_departures,
    record_privacy,
    record_round,
)
from tasks.local_training.jobs import job_of_round
from tasks.local_training.silo_side import AloneJob
from tasks.local_training.task import (
    forget_rounds_on_silos,
    tell_of_own_parts,
    train_for_comparison,
    train_on_silos,
)
from tasks.observability.task import tell_of_spent_budgets
from tasks.preprocessing.task import preprocess_on_silos, preprocess_pooled
from tasks.privacy_budget.task import (
    charge_privacy,
    settle_privacy,
    start_from_popularity,
)
from tasks.reporting.task import (
    publish_artifacts,
    start_progress,
    update_progress,
    write_run_report,
)
from tasks.secure_aggregation.task import (
    aggregate_securely,
    exchange_keys_early,
    require_sums_fit,
    say_what_is_exposed,
)
from tasks.validation.task import admit_silos
from tasks.vocabulary.task import (
    admit_items,
    agree_on_vocabulary,
    describe_vocabulary,
    hide_items_on_silos,
)

PRIVATE_ROUND = "private: what it is worth is measured once, at the end"


@flow(
    name="federated-training",
    flow_run_name="{config.name}",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def federated_training(
    config: FederatedTrainingConfig, resume: str | None = None
) -> ModelVersionRecord:
    """Train one shared recommender on data that never leaves its silo.

    Validates every silo's tables, trains in rounds with secure aggregation, compares
    with what silos reach alone, and records every round in Delta tables.

    Args:
        config: what to train, on whose data.
        resume: id of an interrupted run to continue after its last finished round;
            left out: the one that this flow run began, if any, or see
            `continue_unfinished`.
    """
    with observed("federated-training"):
        return waiting_for_silos(
            partial(train_while_quorum_lasts, config),
            resume,
            config.cohort.wait_minutes,
        )


def train_while_quorum_lasts(
    config: FederatedTrainingConfig, resume: str | None
) -> ModelVersionRecord:
    """All of a run, or what is left of it.

    Raises:
        QuorumLostError: too few silos are left; the run keeps its state.
    """
    silos = prepare_silos(config)
    with (
        recorded_run(config, silos, flow_run.id, resume) as run,
        open_cohort((*pooled_silos(config), *silos), config, run.run_id) as hosts,
    ):
        mark_as_crashed(run.crashed_flow_runs)
        loaded = load_silo_tables(hosts)
        admission = admit_silos(
            hosts.only(silos_of_run(run, [silo.name for silo in silos])),
            config.told_contracts,
            run_id=run.run_id,
            min_silos=config.cohort.min_silos,
            loading_failures=loaded.failures,
            now_seconds=int(now_utc().timestamp()),
        )
        record_admission(run, admission.records, admission.quarantined)
        admission.require_quorum(config.cohort.min_silos)

        cohort = hosts.only(admission.admitted)
        sum_securely = partial(
            aggregate_securely,
            round_number=0,
            config=config.secure_aggregation,
            min_silos=config.cohort.min_silos,
            deadline_seconds=config.cohort.deadline_seconds,
            attempt=run.attempt,
        )
        named = hide_items_on_silos(cohort, config.preprocessing.item_names)
        cohort = hosts.only(named.values)
        vocabulary = agree_on_vocabulary(
            cohort,
            sum_securely,
            min_interactions_per_item=config.preprocessing.min_interactions_per_item,
            public_only=config.privacy.on,
            fewest_silos=config.fewest_silos_to_name,
        )
        vocabulary = describe_vocabulary(
            cohort, vocabulary, config.model, few_people=config.few_people,
            cache_folder=config.data.cache_folder,
        )  # fmt: skip
        prepared = preprocess_on_silos(
            cohort, sum_securely, vocabulary, config.preprocessing,
            tell_sizes=not config.privacy.on,
            weighting=config.server_optimizer.weighting,
        )  # fmt: skip
        record_departures(run, {**named.failures, **prepared.replies.failures})
        cohort = hosts.only(prepared.replies.values)
        charged = charge_privacy(
            cohort, config.privacy, config.schedule.rounds,
            min_silos=config.cohort.min_silos,
        )  # fmt: skip
        if charged:
            record_privacy(run, "charged", charged.statements, charged.plan)
            record_departures(run, charged.refusals)
            tell_of_spent_budgets(charged.statements.values(), config.privacy.period)
            cohort = hosts.only(charged.statements)
        note_silos_of_run(run, cohort.silos)
        say_what_is_exposed(cohort.silos, config.secure_aggregation)
        admitted = admit_items(
            cohort,
            sum_securely,
            min_silos_per_item=config.secure_aggregation.min_silos_per_item,
        )

        vocabulary = start_from_popularity(
            cohort, vocabulary, charged, config, sum_securely
        )
        base = load_checkpoint(config.model.init_from)
        model = initialise_global_model(
            config.model, vocabulary, config.moving_optimizer, base
        )
        require_sums_fit(
            {
                "the model update": (
                    model.vector.size * config.local_training.update_vectors
                ),
                **pair_sums(config.evaluation, vocabulary.size),
            },
            config.secure_aggregation,
        )
        start = RunState.at_start(
            model, cohort.silos, loaded.values, base.sha256 if base else "",
            agreement=agreement_hash(vocabulary, prepared.cuts, admitted),
            total_examples=prepared.total_examples,
        )  # fmt: skip
        state = continue_run(run, start, vocabulary)
        prepared = replace(prepared, total_examples=state.total_examples)
        validation = Question.of(config, Window.VALIDATION, cohort.silos)
        progress = start_progress(config.schedule.rounds)

        for round_number in state.rounds_left(config.schedule.rounds):
            clock = Stopwatch()
            returned = bring_silos_back(cohort, round_number)
            job = job_of_round(
                config, round_number, state.standing.cuts, cohort.silos,
                prepared.total_examples, vocabulary=vocabulary, admitted=admitted,
                last_mean=state.last_mean, charged=charged.plan if charged else None,
                accepted_round=state.standing.accepted_round,
                best_round=state.standing.best_round,
            )  # fmt: skip
            sent = round_start(state.model, state.variate, config.local_training)
            early = exchange_keys_early(
                cohort,
                "model update",
                round_number,
                config.secure_aggregation,
                min_silos=config.cohort.min_silos,
                kind=job.input_kind(sent.vector_hash),
                length=job.encoding.length,
                deadline_seconds=config.cohort.deadline_seconds,
                attempt=run.attempt,
            )
            trained = train_on_silos(cohort, sent.vector, job, config.cohort)
            clock.lap("train")
            summed = aggregate_securely(
                cohort.only(trained.values),
                "model update",
                round_number,
                config.secure_aggregation,
                min_silos=config.cohort.min_silos,
                kind=job.input_kind(sent.vector_hash),
                deadline_seconds=config.cohort.deadline_seconds,
                apart=True,
                early=early,
                attempt=run.attempt,
            )
            candidate, mean = update_global_model(
                state.model, summed, job.encoding, config.moving_optimizer,
                round_number, config.secure_aggregation,
            )  # fmt: skip
            clock.lap("aggregate")
            if charged:  # whoever chooses by private metrics releases them
                evaluation, ruling = None, accept_unseen(round_number)
            else:
                asked = validation.in_round(round_number, state.standing.accepted_round)
                evaluation = evaluate_on_silos(
                    cohort, sum_securely, candidate.vector, asked
                )
                evaluation.require_quorum(config.cohort.min_silos)
                votes = None
                if config.schedule.acceptance == "vote":
                    votes = vote_on_silos(
                        cohort, partial(sum_securely, round_number=round_number),
                        state.model.vector, candidate.vector, asked,
                        config.schedule.max_regression, round_number,
                    )  # fmt: skip
                ruling = rule_on(
                    evaluation.ndcg, state.standing, config.schedule,
                    run_id=run.run_id, round_number=round_number, votes=votes,
                )  # fmt: skip
            clock.lap("evaluate")
            state = record_round(
                run,
                RoundOutcome(
                    run_id=run.run_id,
                    round_number=round_number,
                    at=now_utc().isoformat(),
                    config_hash=run.config_hash,
                    cohort=cohort.silos,
                    snapshots=loaded.values,
                    trained=trained,
                    summed=summed,
                    learning_rate=job.learning_rate,
                    train_loss=mean.loss,
                    update_norm=mean.norm,
                    clipped_coordinates=mean.clipped,
                    noise_multiplier=job.noise_in(summed.contributors),
                    seconds=clock.seconds(),
                    model_bytes=sent.vector.nbytes,
                    metrics=(
                        evaluation.records(run.run_id, round_number)
                        if evaluation
                        else ()
                    ),
                    decisions=(*returned, *ruling.decisions),
                    remarks=mean.remarks,
                ),
                state.after(
                    round_number,
                    candidate if ruling.accepted else state.model,
                    ruling.standing,
                    mean.update,
                    mean.variate,
                ),
                vocabulary,
            )
            update_progress(progress, round_number / config.schedule.rounds)
            announce().round(
                round_number,
                config.schedule.rounds,
                evaluation.headline(mean.loss) if evaluation else PRIVATE_ROUND,
            )
            if state.standing.stopped:
                break

        test = Question.of(config, Window.TEST, cohort.silos)
        best_round = state.standing.best_round
        told_exactly = not charged or config.privacy.metrics == "trusted-coordinator"
        results = []
        if told_exactly:
            results.append(
                evaluate_on_silos(
                    cohort,
                    sum_securely,
                    state.best,
                    test.in_round(best_round),
                    with_coverage=True,
                )
            )
            if base and config.model.personal == "none":
                results.append(
                    evaluate_on_silos(
                        cohort,
                        sum_securely,
                        model.vector,
                        test,
                        Subject.STARTED_FROM,
                        with_coverage=True,
                    )
                )
        elif noisy := release_private_metrics(cohort, state.best, test):
            results.append(noisy)
        if told_exactly and config.evaluation.baselines:
            results += evaluate_baselines(cohort, sum_securely, test)
        if told_exactly and config.evaluation.local_only:
            preprocess_pooled(hosts, vocabulary, config.preprocessing, prepared)
            pooled = train_for_comparison(
                hosts, cohort.silos, model.vector, AloneJob.of(config)
            )
            results.append(evaluate_alone(cohort, sum_securely, test))
            if pooled is not None:
                results += [
                    evaluate_on_silos(
                        cohort,
                        sum_securely,
                        pooled,
                        question,
                        Subject.POOLED,
                        with_coverage=True,
                    )
                    for question in (validation, test)
                ]
        metrics = [
            row for result in results for row in result.records(run.run_id, best_round)
        ]
        if charged:  # before the run is over: a completed one never comes back
            steps = state.round_number * config.privacy.steps_in_round
            settled = settle_privacy(cohort, config.privacy, steps)
            record_privacy(run, "settled", settled, charged.plan)
        published = publish_model(run, state.best_version, metrics)
        forget_rounds_on_silos(cohort, best_round)
        tell_of_own_parts(config, run.run_id)
    history = read_history(run)
    publish_artifacts(history, write_run_report(history, config.output_folder))
    return published
