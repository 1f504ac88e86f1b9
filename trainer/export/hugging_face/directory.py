"""Write and read the directories that transformers opens.

    config.json                     the architecture and its sizes
    model.safetensors               fp32 weights; above 4 GiB model-00001-of-00003.safetensors and so on, with
                                    model.safetensors.index.json
    generation_config.json          tokens that end a text
    tokenizer.json, tokenizer_config.json

A directory appears whole, by a rename, and only when transformers (where it is installed) computes the same logits from
it as we do, and cuts texts into the same tokens: see `agreement`. Memory of writing: one file of weights, then for the
check the model twice; of reading: the model once.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pipeline import storage
from pipeline.errors import UserError
from trainer.export.hugging_face import agreement
from trainer.export.hugging_face.families import Family, config_of, family_of, shape_from_config
from trainer.export.hugging_face.names import Place, assemble, places_of
from trainer.export.weights import SHAPE, TOKENIZER, WEIGHTS, weights_of
from trainer.finetune.template import END_OF_TEXT, PADDING, TURN_END, load_tokenizer
from trainer.model.declaration import declare_parameters
from trainer.settings import ModelShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
FILE_BYTES = 4 << 30
"""Most bytes of weights in one file."""

CHAT_TEMPLATE = (
    "{{ '<|endoftext|>' }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""`trainer.finetune.template` as text. A text is cut into tokens as a whole there, so content that begins with white
space may be cut otherwise, and special tokens written in it are special."""

_UNUSED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Tables that older versions of transformers saved with the weights."""


@dataclass(frozen=True)
class Exchange:
    """What was written."""

    family: Family
    shape: ModelShape
    difference: float | None
    """Largest difference of the logits between transformers and us. None: transformers is not installed."""


def write_directory(model: Path, target: Path, *, chat: bool = False) -> Exchange:
    """Write a finished `model/` directory as one of transformers; `chat`: the model was tuned on conversations.

    Raises UserError when neither GPT-2 nor Llama can hold the model, when `target` is in use, and when what
    transformers computes from it differs.
    """
    try:
        shape = ModelShape.model_validate_json((model / SHAPE).read_bytes())
    except (OSError, ValueError) as fault:
        raise UserError(f"{model} holds no finished model ({' '.join(str(fault).split())[:200]})") from None
    family = family_of(shape)
    tokenizer = load_tokenizer(model / TOKENIZER)
    with _appearing(target) as directory:
        _write_weights(model, directory, shape, family)
        ids = {name: tokenizer.token_to_id(name) for name in (END_OF_TEXT, TURN_END, PADDING)}
        ends = [ids[name] for name in (END_OF_TEXT, *([TURN_END] if chat else [])) if ids[name] is not None]
        config = config_of(shape, family) | {
            "bos_token_id": ids[END_OF_TEXT],
            "eos_token_id": ends[-1] if ends else None,
        }
        storage.write_json(str(directory / CONFIG), config)
        if ends:
            generation = {"bos_token_id": ids[END_OF_TEXT], "eos_token_id": ends, "pad_token_id": ids[PADDING]}
            storage.write_json(str(directory / "generation_config.json"), generation)
        _write_tokenizer(model, directory, tokenizer, shape, chat)
        difference = agreement.require(model, directory, shape, tokenizer)
    return Exchange(family, shape, difference)


def read_directory(source: Path, target: Path, tokenizer: Path | None = None) -> Exchange:
    """Write a directory of transformers as a `model/` directory, which `init_from` takes.

    `tokenizer`: its tokenizer.json where the directory has none. Raises UserError when the model is not one of ours,
    when weights are missing or too many, when `target` is in use, and when what transformers computes differs.
    """
    place = source / CONFIG
    try:
        config = json.loads(place.read_bytes())
    except (OSError, ValueError) as fault:
        raise UserError(f"{place} cannot be read ({fault}): give a directory that transformers has saved") from None
    shape, family = shape_from_config(config, str(place))
    tokenizer = source / TOKENIZER if tokenizer is None else tokenizer
    if not tokenizer.is_file():
        raise UserError(f"{tokenizer} is missing: name the model's tokenizer.json with --tokenizer")
    loaded = load_tokenizer(tokenizer)
    if loaded.get_vocab_size() > shape.vocab_size:
        raise UserError(f"{tokenizer} has {loaded.get_vocab_size()} tokens, the model {shape.vocab_size}: not its own")
    read = _reader(source, shape, family)
    with _appearing(target) as directory:
        weights = {item.name: assemble(item, family, read) for item in declare_parameters(shape)}
        _save(weights, directory / WEIGHTS)
        del weights
        with storage.write_atomically(str(directory / SHAPE)) as file:
            file.write(shape.model_dump_json(indent=2).encode() + b"\n")
        shutil.copyfile(tokenizer, directory / TOKENIZER)
        difference = agreement.require(directory, source, shape, None)
    return Exchange(family, shape, difference)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A directory that exists under its name only after the block ended without an error."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already: remove it, or name another directory")
    temporary = target.absolute().with_name(f".tmp-{target.absolute().name}")
    shutil.rmtree(temporary, ignore_errors=True)
    with storage.explained(str(target), "write"):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            temporary.rename(target.absolute())
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_weights(model: Path, directory: Path, shape: ModelShape, family: Family) -> None:
    files: list[list[Any]] = [[]]
    filled = 0
    for declaration in declare_parameters(shape):
        size = 4 * declaration.size
        if filled and filled + size > FILE_BYTES:
            files.append([])
            filled = 0
        files[-1].append(declaration)
        filled += size
    read = weights_of(model, shape)
    index: dict[str, str] = {}
    for number, declarations in enumerate(files, 1):
        name = "model.safetensors" if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
        weights: dict[str, Tensor] = {}
        for declaration in declarations:
            parameter = read(declaration)
            weights |= {place.name: place.take(parameter) for place in places_of(declaration, family)}
        _save(weights, directory / name)
        index |= dict.fromkeys(weights, name)
    if len(files) > 1:
        total = sum(4 * declaration.size for declaration in declare_parameters(shape))
        storage.write_json(str(directory / INDEX), {"metadata": {"total_size": total}, "weight_map": index})


def _save(weights: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights, path, metadata={"format": "pt"})
    # It leaves a file that only its owner may read.
    allowed = os.umask(0)
    os.umask(allowed)
    path.chmod(0o666 & ~allowed)


def _write_tokenizer(model: Path, directory: Path, tokenizer: "Tokenizer", shape: ModelShape, chat: bool) -> None:
    shutil.copyfile(model / TOKENIZER, directory / TOKENIZER)
    special = {
        "bos_token": END_OF_TEXT,
        "eos_token": TURN_END if chat else END_OF_TEXT,
        "pad_token": PADDING,
    }
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.context_length,
        "clean_up_tokenization_spaces": False,
        **{key: name for key, name in special.items() if tokenizer.token_to_id(name) is not None},
    }
    if chat:
        config["chat_template"] = CHAT_TEMPLATE
    storage.write_json(str(directory / "tokenizer_config.json"), config)


def _reader(source: Path, shape: ModelShape, family: Family) -> Callable[[Place], Tensor]:
    """Gives a value of transformers' state dict when it is asked for; all are found to be there and to fit first."""
    from safetensors import SafetensorError, safe_open

    files = sorted(source.glob("model*.safetensors"))
    if (source / INDEX).is_file():
        files = [
            source / name for name in sorted(set(json.loads((source / INDEX).read_bytes())["weight_map"].values()))
        ]
    if not files:
        raise UserError(f"{source} has no model.safetensors: save the model with `save_pretrained` once more")
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                found |= {name: (path, tuple(file.get_slice(name).get_shape())) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as fault:
            raise UserError(f"{path} is damaged ({fault}): fetch it again") from None
    keys: dict[str, str] = {}
    for declaration in declare_parameters(shape):
        for place in places_of(declaration, family):
            # Models that were saved without their output layer have no first part in their names.
            key = place.name if place.name in found else place.name.split(".", 1)[1]
            if key not in found:
                raise UserError(f"{source} has no weight {place.name}: it is not complete")
            if found[key][1] != place.shape(declaration.shape):
                raise UserError(
                    f"{found[key][0]}: {key} has the shape {list(found[key][1])}, "
                    f"by config.json it is {list(place.shape(declaration.shape))}"
                )
            keys[place.name] = key
    tied = {"lm_head.weight"} if shape.tied_embeddings else set()
    if rest := sorted(name for name in {*found} - {*keys.values()} - tied if not name.endswith(_UNUSED)):
        raise UserError(f"{source} has weights that this trainer's models have not: {', '.join(rest[:5])}")

    def read(place: Place) -> Tensor:
        key = keys[place.name]
        with safe_open(found[key][0], framework="pt") as file:
            value: Tensor = file.get_tensor(key)
        return value.float()

    return read
