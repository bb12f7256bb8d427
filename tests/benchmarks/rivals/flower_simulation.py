"""Flower: FedAvg in its simulation runtime, which runs clients in Ray actors."""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

from flwr.app import (
    ArrayRecord,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from tests.benchmarks.rivals import work

client = ClientApp()
server = ServerApp()


@client.train()
def train(message, context):
    """One round at one silo."""
    module = work.Recommender()
    work.do_round(
        module,
        context.node_config["partition-id"],
        message.content["config"]["server-round"],
        {
            k: v.numpy()
            for k, v in message.content["arrays"].to_torch_state_dict().items()
        },
    )
    reply = {
        "arrays": ArrayRecord(module.state_dict()),
        "metrics": MetricRecord({"num-examples": 1}),
    }
    return Message(content=RecordDict(reply), reply_to=message)


@server.main()
def serve(grid, context):
    """All rounds."""
    strategy = FedAvg(
        fraction_train=1.0,
        fraction_evaluate=0.0,
        min_train_nodes=work.SILOS,
        min_available_nodes=work.SILOS,
    )
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(work.Recommender().state_dict()),
        num_rounds=work.rounds(),
    )


if __name__ == "__main__":
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=work.SILOS,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": work.CORES},
        },
    )
