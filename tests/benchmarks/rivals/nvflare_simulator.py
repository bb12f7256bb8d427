"""NVFLARE: its federated-averaging recipe in its simulator, a thread per silo."""

import os
import tempfile
from pathlib import Path

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.client.config import ExchangeFormat
from nvflare.recipe import SimEnv

from tests.benchmarks.rivals import work


def main() -> None:
    """Run all rounds."""
    recipe = FedAvgRecipe(
        name="overhead",
        min_clients=work.SILOS,
        num_rounds=work.rounds(),
        model=work.Recommender(),
        train_script=str(Path(__file__).with_name("nvflare_silo.py")),
        server_expected_format=ExchangeFormat.NUMPY,
        launch_external_process=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        recipe.execute(
            SimEnv(
                num_clients=work.SILOS,
                num_threads=work.SILOS,
                workspace_root=folder,
            )
        )


if __name__ == "__main__":
    main()
