"""The `gptmill` command. Importing it loads neither ray nor torch: each command imports what it needs.

Exit codes: 0 done, 1 failed, 2 bad recipe or usage, 75 interrupted (the same command continues), 124 a hang
was detected.
"""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable

import typer

from jobs.commands import checkpoints, inspection, models, steps, token_datasets

app = typer.Typer(
    name="gptmill",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "From raw text to an instruction-tuned GPT: one YAML recipe, one command.\n\n"
        "A recipe is a path, or the name of a shipped one such as [bold]quickstart[/bold]. `key=value` words after it "
        "override it: `gptmill run quickstart pretrain.steps=100 stages.language.min_score=0.5`. Every command "
        "continues where the last one stopped and does nothing when nothing has changed."
    ),
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 bad recipe or usage, 75 interrupted (the same command continues), "
        "124 hang detected."
    ),
)
INTERRUPTED = 75

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Steps of a recipe": {
        "run": steps.run,
        "corpus": steps.corpus,
        "tokenizer": steps.tokenizer,
        "tokens": steps.tokens,
        "pretrain": steps.pretrain,
        "finetune": steps.finetune,
        "report": steps.report,
    },
    "Token datasets": {
        "import-tokens": token_datasets.import_tokens,
        "export-tokens": token_datasets.export_tokens,
    },
    "Models": {
        "generate": models.generate,
        "chat": models.chat,
        "export": models.export_model,
        "import-model": models.import_model,
    },
    "Checkpoints": {
        "checkpoints": checkpoints.checkpoints,
        "reshape": checkpoints.reshape,
    },
    "Look and check": {
        "explain": inspection.explain,
        "layouts": inspection.layouts,
        "stages": inspection.stages,
        "doctor": inspection.doctor,
    },
}
"""All commands by name, as `gptmill --help` groups and orders them; `inspect` has commands of its own."""

for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(inspection.inspect, name="inspect", rich_help_panel="Look and check")


def main() -> None:
    """Entry point: errors meant for people become one line and an exit code, bugs keep their traceback."""
    from pipeline.errors import UserError
    from pipeline.interrupts import StoppedAtOnce

    try:
        app(standalone_mode=True)
    except UserError as fault:
        from jobs.terminal import failed, note

        if fault.exit_code == INTERRUPTED:
            note(str(fault))
        else:
            for line in str(fault).splitlines():
                failed(line)
        sys.exit(fault.exit_code)
    except StoppedAtOnce:
        print("stopped at once; what was finished is kept, the same command continues", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception:
        traceback.print_exc()
        print("this is a bug in gptmill: please report it with the lines above", file=sys.stderr)
        sys.exit(1)
    finally:
        # Python looks for garbage once more before it ends: 0.15 s in what numba and pyarrow have loaded.
        gc.freeze()
