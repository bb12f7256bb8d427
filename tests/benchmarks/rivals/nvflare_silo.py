"""What NVFLARE runs at each silo of `nvflare_simulator.py`."""

import nvflare.client as flare

from tests.benchmarks.rivals import work


def main() -> None:
    """Answer every round until the run is over."""
    module = work.Recommender()
    flare.init()
    silo = int(flare.get_site_name().split("-")[-1])
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        state = work.do_round(module, silo, received.current_round, received.params)
        flare.send(flare.FLModel(params=state, meta={"NUM_STEPS_CURRENT_ROUND": 1}))


if __name__ == "__main__":
    main()
