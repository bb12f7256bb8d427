"""Recipes that are known to work on the public data sets.

A preset is a plain tree of settings; a config file and CLI flags go on top of it.
The figures behind them stand in `infra/docs/benchmarks.md`.
"""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]

PRESETS: dict[str, Tree] = {
    "ml-100k": {
        "name": "movielens-100k",
        "data": {"dataset": "ml-100k", "silo_split": "occupation"},
        "evaluation": {"pooled": True},
    },
    "ml-1m": {
        "name": "movielens-1m",
        "data": {"dataset": "ml-1m", "silo_split": "taste"},
        "model": {"context": 200, "dropout": 0.1},
        "local_training": {"batch_size": 64},
        "schedule": {"patience": 8},
        "evaluation": {"pooled": True},
    },
}

DATASETS = tuple(PRESETS)

# What `silorec init --preset own-tables` writes: three organisations, three formats.
PRESETS["own-tables"] = {
    "name": "my-federation",
    "cohort": {
        "silos": [
            {
                "name": "north",
                "interactions": {
                    "path": "/data/north/interactions.parquet",
                    "columns": {"user_id": "customer", "timestamp": "bought_at"},
                },
                "items": {"path": "/data/north/items.parquet"},
            },
            {
                "name": "south",
                "interactions": {"path": "/data/south/orders.csv"},
                "items": {"path": "/data/south/catalogue.csv"},
                "users": {"path": "/data/south/customers.csv"},
            },
            {
                "name": "west",
                "interactions": {"path": "/data/west/interactions", "format": "delta"},
                "items": {"path": "/data/west/items", "format": "delta"},
                "compute": {"num_gpus": 1, "custom_resources": {"silo:west": 1}},
            },
        ],
    },
}


def merged(base: Tree, over: Tree) -> Tree:
    """`base` with the settings of `over` on top, section by section.

    >>> merged({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result
