"""The proof that the layout does not change the maths.

Ragged masks (one row without a valid token), active clipping, weight decay, both styles, tied and untied: through
DeepSpeed with 1 and 2 processes, ZeRO 0 to 3, with and without accumulation, the losses, gradient norms before
clipping and all weights after 5 steps are those of a plain PyTorch loop on one process.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.ragged import SHAPES, plain_training
from trainer.model.gpt import GPT

Case = tuple[str, int, int | str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_processes(directory: Path, world: int) -> list[subprocess.Popen[bytes]]:
    port = str(free_port())
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "DS_ACCELERATOR": "cpu"}
    return [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.trainer.engine_process", str(directory)],
            env={
                **environment,
                "OMP_NUM_THREADS": "1",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
            },
            stdout=(directory / f"world{world}-rank{rank}.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        for rank in range(world)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[Case, Any]]:
    directory = tmp_path_factory.mktemp("engine")
    processes = [*run_processes(directory, 1), *run_processes(directory, 2)]
    for process in processes:
        process.wait(timeout=300)
    logs = "\n".join(path.read_text()[-2000:] for path in directory.glob("*.log"))
    assert all(process.returncode == 0 for process in processes), logs
    results = {world: torch.load(directory / f"world{world}-rank0.pt") for world in (1, 2)}
    second = torch.load(directory / "world2-rank1.pt")
    for case, result in results[2].items():
        for name, weight in result["weights"].items():
            assert torch.equal(weight, second[case]["weights"][name]), (case, name)
    return results


@pytest.fixture(scope="module")
def reference() -> dict[str, tuple[GPT, list[float], list[float]]]:
    return {name: plain_training(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("world", [1, 2])
def test_every_layout_gives_the_weights_losses_and_norms_of_one_plain_process(
    world: int, trained: dict[int, dict[Case, Any]], reference: dict[str, tuple[GPT, list[float], list[float]]]
) -> None:
    assert len(trained[world]) == len(SHAPES) * 4 * 2 + 1
    for case, result in trained[world].items():
        model, losses, norms = reference[case[0]]
        assert result["losses"] == pytest.approx(losses, rel=1e-6), case
        assert result["norms"] == pytest.approx(norms, rel=2e-6), case
        assert min(result["norms"]) > 0.3, "clipping must be active"
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                result["weights"][name],
                parameter.detach(),
                rtol=1e-6,
                atol=1e-6,
                msg=lambda message, case=case, name=name: f"{case} {name}: {message}",
            )
