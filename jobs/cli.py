"""The `gptmill` command. Importing it loads neither ray nor torch: each command imports what it needs.

Exit codes: 0 done, 1 failed, 2 bad recipe or usage, 75 interrupted with everything saved (run it again), 124 a hang
was detected.
"""

from __future__ import annotations

import gc
import sys
import traceback
from typing import Annotated, Literal

import typer

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
        "Exit codes: 0 done, 1 failed, 2 bad recipe or usage, 75 interrupted and saved (run the same command again), "
        "124 hang detected."
    ),
)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Path of a recipe, or the name of a shipped one.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as pretrain.optimizer.lr=3e-4.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, do nothing.")]
Devices = Annotated[
    int | None, typer.Option(min=1, help="Plan for so many devices, one process each. None: this machine.")
]
DeviceName = Annotated[str | None, typer.Option("--device", help="Plan for this device, such as h100 or a100-80gb.")]
Utilisation = Annotated[
    float | None, typer.Option(min=0.01, max=1.0, help="Part of its peak that the time is reckoned with; else 0.4.")
]
Allowed = Annotated[
    str | None,
    typer.Option(
        "--allow", help="Settings that may differ from the checkpoint's: `lr,schedule`, or `all`. It is recorded."
    ),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Directory of a run, such as runs/quickstart.")]
INTERRUPTED = 75


def _steps(
    recipe: str,
    overrides: list[str] | None,
    dry_run: bool,
    last: str,
    alone: bool = False,
    planned: tuple[int | None, str | None, float | None] = (None, None, None),
) -> None:
    from jobs.run import run_steps
    from jobs.training_plan import planned_target

    target = planned_target(dry_run, *planned)
    run_steps(recipe, overrides or [], last=last, dry_run=dry_run, alone=alone, target=target)


@app.command()
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    devices: Devices = None,
    device: DeviceName = None,
    mfu: Utilisation = None,
) -> None:
    """Do every step of a recipe: corpus, tokenizer, tokens, pretrain, finetune, report."""
    _steps(recipe, overrides, dry_run, "report", planned=(devices, device, mfu))


@app.command()
def corpus(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Read the sources and put them through the stages."""
    _steps(recipe, overrides, dry_run, "corpus")


@app.command()
def tokenizer(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train the tokenizer on the finished corpus."""
    _steps(recipe, overrides, dry_run, "tokenizer", alone=True)


@app.command()
def tokens(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Write the token dataset from the finished corpus and tokenizer."""
    _steps(recipe, overrides, dry_run, "tokens", alone=True)


@app.command("import-tokens")
def import_tokens(
    source: Annotated[
        str, typer.Argument(help="Prefix of a Megatron .bin/.idx pair, or files with a column of token ids.")
    ],
    target: Annotated[str, typer.Argument(help="Folder of the new token dataset, such as runs/mine/tokens.")],
    tokenizer: Annotated[str, typer.Option(help="The tokenizer.json that the tokens were made with.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the recipe's tokens section: context_length=2048."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name among sources; else the last part of SOURCE.")] = None,
    column: Annotated[str, typer.Option(help="Column of the token ids, in Arrow and Parquet files.")] = "input_ids",
    documents: Annotated[
        Literal["rows", "end-of-text"],
        typer.Option(help="rows: each row is a document. end-of-text: rows are a stream, cut at end-of-text tokens."),
    ] = "rows",
    end_of_text: Annotated[str, typer.Option(help="The token that closes a document.")] = "<|endoftext|>",
) -> None:
    """Make a token dataset of tokens that another program wrote.

    SOURCE is what Megatron-LM's preprocess_data wrote (`data/my_text_document`, with or without .bin), or a file, a
    folder or a pattern of Arrow or Parquet files, also a folder of `datasets.save_to_disk`. The documents are
    shuffled, split and packed as those of a corpus are.

    gptmill import-tokens data/my_text_document runs/mine/tokens --tokenizer gpt2/tokenizer.json packing=best_fit
    """
    from jobs.exchange import import_dataset

    import_dataset(source, target, tokenizer, settings or [], name, column, documents, end_of_text)


@app.command("export-tokens")
def export_tokens(
    source: Annotated[str, typer.Argument(help="A token dataset, such as runs/mine/tokens.")],
    target: Annotated[str, typer.Argument(help="Folder for train.bin, train.idx, validation.bin, validation.idx.")],
) -> None:
    """Write a token dataset as Megatron-LM's .bin/.idx, one document an entry, in the order of the rows.

    Files that are there already are not overwritten.
    """
    from jobs.exchange import export_dataset

    export_dataset(source, target)


@app.command()
def pretrain(
    recipe: RecipeName,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    devices: Devices = None,
    device: DeviceName = None,
    mfu: Utilisation = None,
    launcher: Annotated[
        Literal["embedded", "torchrun", "deepspeed", "slurm", "ray"] | None,
        typer.Option(help="Who starts the processes. None: torchrun, deepspeed or srun if they started this, else us."),
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(min=0, help="Start again so often after a failure, from the last good checkpoint.")
    ] = None,
    allow: Allowed = None,
    print_command: Annotated[
        bool, typer.Option("--print-command", help="Print the command, or the sbatch file, of --launcher; do nothing.")
    ] = False,
    nodes: Annotated[int, typer.Option(min=1, help="Machines, for --print-command.")] = 1,
    processes_per_node: Annotated[
        int | None, typer.Option(min=1, help="Processes of each machine, for --print-command. None: as many as here.")
    ] = None,
) -> None:
    """Pretrain the model on the finished token dataset, or continue where it stopped."""
    from jobs.launch_command import show_command
    from jobs.launching import launching

    chosen = launching(launcher, restarts, allow)
    if print_command:
        show_command(recipe, overrides or [], chosen, nodes, processes_per_node)
        return
    from jobs.run import run_steps
    from jobs.training_plan import planned_target

    target = planned_target(dry_run, devices, device, mfu)
    run_steps(recipe, overrides or [], last="pretrain", dry_run=dry_run, alone=True, launching=chosen, target=target)


@app.command()
def finetune(recipe: RecipeName, overrides: Overrides = None, dry_run: DryRun = False, allow: Allowed = None) -> None:
    """Tune the pretrained model on conversations, or continue where it stopped."""
    from jobs.launching import launching
    from jobs.run import run_steps

    chosen = launching("embedded", None, allow)
    run_steps(recipe, overrides or [], last="finetune", dry_run=dry_run, alone=True, launching=chosen)


@app.command()
def report(run: RunName) -> None:
    """Write report.html of a run again from what is there."""
    from jobs.report import write_report
    from jobs.terminal import done

    done("report", write_report(run))


@app.command()
def generate(
    run: RunName,
    prompt: Annotated[str, typer.Argument(help="What to answer, or with --raw to continue.")],
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text with the pretrained model, no chat.")] = False,
    temperature: Annotated[float | None, typer.Option(help="0: always the likeliest token.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens; 0: from all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens of this total share.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Stop after so many tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same text.")] = None,
) -> None:
    """Let a run's model answer a question, or continue a text."""
    from jobs.generate import generate_once

    changes = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    generate_once(run, prompt, raw, {key: value for key, value in changes.items() if value is not None})


@app.command("export")
def export_model(
    run: RunName,
    directory: Annotated[str, typer.Argument(help="New directory for the model.")],
    step: Annotated[
        Literal["pretrain", "finetune"] | None,
        typer.Option(help="Which of the run's models. Not given: the tuned one where there is one."),
    ] = None,
) -> None:
    """Write a run's model for Hugging Face's transformers: `AutoModelForCausalLM.from_pretrained(DIRECTORY)`.

    GPT-2's or Llama's architecture, with the tokenizer. Where transformers is installed, nothing is written unless its
    logits are ours. RUN may also be a `model` directory.
    """
    from jobs.export import export_model as export

    export(run, directory, step)


@app.command("import-model")
def import_model(
    source: Annotated[str, typer.Argument(help="Directory with config.json and safetensors, of GPT-2 or Llama.")],
    directory: Annotated[str, typer.Argument(help="New directory for the model.")],
    tokenizer: Annotated[str | None, typer.Option(help="Its tokenizer.json, where SOURCE has none.")] = None,
) -> None:
    """Read a model that Hugging Face's transformers has saved; `pretrain.init_from=DIRECTORY` starts from it."""
    from jobs.export import import_model as read

    read(source, directory, tokenizer)


@app.command()
def chat(run: RunName) -> None:
    """Talk with a run's tuned model."""
    from jobs.generate import chat_loop

    chat_loop(run)


@app.command()
def explain(run: RunName, document: Annotated[str, typer.Argument(help="Id of a document.")]) -> None:
    """Tell a document's whole way through a run: which stage changed or dropped it, and why."""
    from jobs.explain import explain_document

    explain_document(run, document)


inspect = typer.Typer(no_args_is_help=True, help="Look into what a run has made.")
app.add_typer(inspect, name="inspect")


@inspect.command("tokens")
def inspect_tokens(
    place: Annotated[str, typer.Argument(metavar="RUN_OR_FOLDER", help="A run, or a token dataset: folder or URL.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 3,
    split: Annotated[Literal["train", "validation"], typer.Option(help="Which split.")] = "train",
    row: Annotated[int | None, typer.Option(help="Only the row of this number, from 0 on.")] = None,
    source: Annotated[str | None, typer.Option(help="Only rows that hold something of this source.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Each token with its id instead of the text.")] = False,
) -> None:
    """Show rows of the token dataset: texts, where documents begin, end and are cut, sources, padding."""
    from jobs.inspect import inspect_tokens as show

    show(place, rows, split, row, source, tokens)


@inspect.command("checkpoint")
def inspect_checkpoint(
    place: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a run: its newest one.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="Every tensor with shape, norm, range and hash.")] = False,
) -> None:
    """Show of which run and step a checkpoint is, its layout, and the hash of its state."""
    from jobs.inspect_checkpoint import inspect_checkpoint as show

    raise typer.Exit(show(place, tensors))


@app.command()
def checkpoints(
    run: RunName,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its checksum.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove old ones first; permanent ones stay.")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="How many --prune leaves; else the recipe's keep_last.")
    ] = None,
) -> None:
    """List a run's checkpoints: step, size, layout, and whether they are whole; exit code 1 when one is damaged."""
    from jobs.checkpoints import show_checkpoints

    raise typer.Exit(show_checkpoints(run, verify, prune, keep))


@app.command()
def reshape(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, or a run: its newest one.")],
    parallel: Annotated[str, typer.Option(help="The new layout: data=2,tensor=1,pipeline=2; what is left out is 1.")],
    zero: Annotated[int, typer.Option(min=0, max=3, help="The ZeRO stage to share each part out for.")] = 1,
    output: Annotated[str | None, typer.Option(help="Folder of checkpoints to write to; else one beside.")] = None,
) -> None:
    """Write a checkpoint for another layout and prove by hashes that no tensor changed.

    Resuming does not need it: a run goes on from any checkpoint in any layout.
    """
    from jobs.checkpoints import reshape_checkpoint

    reshape_checkpoint(checkpoint, parallel, zero, output)


@app.command()
def layouts(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe: which layouts it could have.")
    ] = None,
    overrides: Overrides = None,
    devices: Annotated[int | None, typer.Option(min=1, help="On so many devices. None: this machine's.")] = None,
    device: Annotated[str | None, typer.Option(help="Of this kind, such as h100: tells which fit its memory.")] = None,
) -> None:
    """List what works together in training and what is refused, and why; with a recipe, the layouts it could have."""
    from jobs.layouts import show_layouts, show_layouts_of

    if recipe is None:
        show_layouts()
    else:
        show_layouts_of(recipe, overrides or [], devices, device)


@app.command()
def stages() -> None:
    """List all sources and stages with their fields, from the classes themselves."""
    from jobs.stages import show_stages

    show_stages()


@app.command()
def doctor() -> None:
    """Look for what is broken or missing in this environment, and say how to mend it."""
    from jobs.doctor import run_doctor

    raise typer.Exit(run_doctor())


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
