"""The story: one pipeline per file, read top to bottom.

Importing this package, as every entry point does, turns the telemetry of all
dependencies off unless the user has said otherwise, gives the embedded Prefect
server the time that a busy machine needs to start it, and lets it write in batches.
"""

import os
from pathlib import Path

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # A server that writes each of a round's 18 task events by itself spends more CPU
    # time on it than the round; it writes what came in once a second instead.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "RAY_USAGE_STATS_ENABLED": "0",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

# An embedded server hangs, with a misleading message, where its folder's parent is
# missing.
Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser().mkdir(
    parents=True, exist_ok=True
)
