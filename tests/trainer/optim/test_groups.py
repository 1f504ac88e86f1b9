"""Which parameters decay: by rule, from declarations; and AdamW built by it."""

import pytest
import torch

from tests.trainer.optim.material import DECLARATIONS, declaration_of, parameters, settings_of
from trainer.optim.build import build_optimizer
from trainer.optim.groups import decay_groups, is_decayed

MATRIX, BIAS, NORM = (
    f"blocks.0.{name}" for name in ("feed_forward.down.weight", "attention.output.bias", "attention_norm.weight")
)
EMBEDDING, OUTPUT = "token_embedding.weight", "output.weight"


@pytest.mark.parametrize(
    ("rule", "decayed"),
    [
        ({}, {MATRIX, EMBEDDING, OUTPUT}),
        ({"decay_embeddings": False}, {MATRIX}),
        ({"decay": "all"}, {MATRIX, EMBEDDING, OUTPUT, BIAS, NORM}),
        ({"decay": "all", "decay_embeddings": False}, {MATRIX, BIAS, NORM}),
        ({"decay": "none"}, set()),
    ],
)
@pytest.mark.parametrize("kind", ["adamw", "adafactor", "muon"])
def test_decay_follows_the_rule_for_every_optimizer(kind: str, rule: dict[str, object], decayed: set[str]) -> None:
    settings = settings_of(kind=kind, **rule)
    names = {MATRIX, BIAS, NORM, EMBEDDING, OUTPUT}
    assert {name for name in names if is_decayed(declaration_of(name), settings)} == decayed
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decays) == len(held)
    assert {name for name in names if decays[id(held[name])] == 0.1} == decayed
    assert {decays[id(held[name])] for name in names - decayed} <= {0.0}


def test_no_group_is_empty() -> None:
    assert len(decay_groups(DECLARATIONS, settings_of(decay="none"))) == 1
    assert len(decay_groups(DECLARATIONS, settings_of(decay="all"))) == 1
    norms = [item for item in DECLARATIONS if item.role == "norm"]
    assert [weight_decay for _, weight_decay in decay_groups(norms, settings_of())] == [0.0]


def test_adamw_is_torchs_fused_one_with_the_settings_of_the_recipe() -> None:
    held = parameters()
    optimizer = build_optimizer(held, DECLARATIONS, settings_of(lr=0.5, betas=(0.8, 0.9), eps=1e-3))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["fused"]
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.5, (0.8, 0.9), 1e-3)


def test_the_parameters_of_one_stage_are_enough_and_one_without_a_declaration_is_refused() -> None:
    held = {name: parameter for name, parameter in parameters().items() if name.startswith("blocks.1.")}
    optimizer = build_optimizer(held, DECLARATIONS, settings_of())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(held)
    with pytest.raises(ValueError, match="no declaration of stranger"):
        build_optimizer({"stranger": held["blocks.1.attention.output.bias"]}, DECLARATIONS, settings_of())
