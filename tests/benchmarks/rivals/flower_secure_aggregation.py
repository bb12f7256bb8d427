"""Flower's own SecAgg+ (client mod and server workflow) in one process.

Run by Flower's interpreter: `python flower_secure_aggregation.py PARAMETERS SILOS`.
The last client vanishes before it sends its masked vector. Prints one JSON object: CPU
seconds of one client over all stages (median), of the server's unmasking, and the bytes
a client uploads for each parameter.
"""

import json
import logging
import os
import statistics
import sys
import time

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import flwr.compat.common.recorddict_compat as compat
import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod.secure_aggregation.secaggplus_mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import (
    RECORD_KEY_CONFIGS,
    Key,
    Stage,
)
from flwr.server import ServerConfig
from flwr.server.client_manager import SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import (
    SecAggPlusWorkflow,
)
from flwr.supercore.task_identity import TaskIdentity


class Client(ClientProxy):
    """A name; the workflow only asks for its number."""

    def __init__(self, node_id):
        super().__init__(str(node_id))
        self.node_id = node_id

    get_properties = get_parameters = fit = evaluate = reconnect = None


Client.__abstractmethods__ = frozenset()


class Grid:
    """Passes messages to the client mod, times it, and loses the last client."""

    def __init__(self, parameters, silos):
        numbers = np.random.default_rng(0).normal(0, 0.01, parameters)
        self.update = numbers.astype(np.float32)
        self.contexts = {
            node: Context(1, node, {}, RecordDict(), {}) for node in range(silos)
        }
        self.gone = silos - 1
        self.spent = dict.fromkeys(self.contexts, 0.0)
        self.inside = self.upload = 0.0

    def send_and_receive(self, messages, timeout=None):
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.content = RecordDict(
                {
                    name: ConfigRecord(dict(record))
                    if isinstance(record, ConfigRecord)
                    else record
                    for name, record in message.content.items()
                }
            )
            stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
            if node == self.gone and stage in (
                Stage.COLLECT_MASKED_VECTORS,
                Stage.UNMASK,
            ):
                continue
            self.inside, began = 0.0, time.process_time()
            reply = secaggplus_mod(message, self.contexts[node], self._train)
            self.spent[node] += time.process_time() - began - self.inside
            if stage == Stage.COLLECT_MASKED_VECTORS:
                told = reply.content.config_records[RECORD_KEY_CONFIGS]
                sent = sum(len(part) for part in told[Key.MASKED_PARAMETERS])
                self.upload = sent / self.update.size
            replies.append(reply)
        return replies

    def _train(self, message, context):
        """What the client app would do; its time is not the protocol's."""
        began = time.process_time()
        result = FitRes(
            Status(Code.OK, ""), ndarrays_to_parameters([self.update]), 100, {}
        )
        content = compat.fitres_to_recorddict(result, keep_input=False)
        self.inside += time.process_time() - began
        return Message(content, reply_to=message)


def server_context(silos):
    manager = SimpleClientManager()
    for node in range(silos):
        manager.register(Client(node))
    strategy = FedAvg(
        fraction_fit=1.0, min_fit_clients=silos, min_available_clients=silos
    )
    context = LegacyContext(
        Context(1, 0, {}, RecordDict(), {}),
        config=ServerConfig(num_rounds=1),
        strategy=strategy,
        client_manager=manager,
    )
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord(
        {WorkflowKey.CURRENT_ROUND: 1}
    )
    nothing = ndarrays_to_parameters([np.zeros(1, np.float32)])
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(
        nothing, True
    )
    return context


def main(parameters, silos):
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    grid = Grid(parameters, silos)
    workflow = SecAggPlusWorkflow(
        num_shares=1.0, reconstruction_threshold=0.5, max_weight=1000
    )
    stage, unmasking = workflow.unmask_stage, []

    def timed(*arguments):
        clients, began = sum(grid.spent.values()), time.process_time()
        done = stage(*arguments)
        total = time.process_time() - began
        unmasking.append(total - (sum(grid.spent.values()) - clients))
        return done

    workflow.unmask_stage = timed
    workflow(grid, server_context(silos))
    stayed = [spent for node, spent in grid.spent.items() if node != grid.gone]
    figures = {
        "client": statistics.median(stayed),
        "unmask": unmasking[0],
        "upload": grid.upload,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
