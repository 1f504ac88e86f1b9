"""A run as a user starts it, in a process that a test can interrupt or kill: prints each event as a JSON line."""

import json
import sys
from pathlib import Path
from typing import Any

from trainer.job import TrainingJob
from trainer.launch import launch


def show(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(launch(TrainingJob.model_validate_json(Path(sys.argv[1]).read_bytes()), show))
