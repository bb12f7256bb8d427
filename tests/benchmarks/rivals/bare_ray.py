"""The least a design on Ray can cost: an actor per silo, a mean, and nothing else."""

import logging

import numpy as np
import ray

from tests.benchmarks.rivals import work


class Silo:
    """One long-lived actor per silo."""

    def __init__(self, silo: int) -> None:
        self.silo = silo
        self.module = work.Recommender()

    def fit(self, state: work.State, number: int) -> work.State:
        """One round."""
        return work.do_round(self.module, self.silo, number, state)


def main() -> None:
    """Run all rounds."""
    ray.init(
        address="local",
        num_cpus=work.CORES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    remote = ray.remote(num_cpus=work.CORES / work.SILOS)(Silo)
    silos = [remote.remote(silo) for silo in range(work.SILOS)]
    state = work.state_of(work.Recommender())
    for number in range(work.rounds()):
        sent = ray.put(state)
        received = ray.get([silo.fit.remote(sent, number) for silo in silos])
        state = {name: mean([r[name] for r in received]) for name in state}
    ray.shutdown()


def mean(values: list[np.ndarray]) -> np.ndarray:
    """In double precision, like every framework here."""
    return np.mean(values, axis=0, dtype=np.float64).astype(np.float32)


if __name__ == "__main__":
    main()
