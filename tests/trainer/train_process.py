"""A run as a user starts it, in a process that a test can interrupt or kill: prints each event as a JSON line."""

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from trainer.job import TrainingJob
from trainer.launch import launch


def show(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def main(job_file: str) -> int:
    try:
        return launch(TrainingJob.model_validate_json(Path(job_file).read_bytes()), show)
    except UserError as error:
        show({"event": "error", "message": str(error)})
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
