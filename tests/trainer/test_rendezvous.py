"""Who started a process, and where it meets the others."""

import pytest

from pipeline.errors import SettingError
from trainer.rendezvous import adopt, first_host, launcher_of, patience, processes_here, slurm_variables
from trainer.settings.watch import WatchSettings

SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NODELIST": "gpu[007-009,011]",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
}
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}


def test_the_environment_tells_the_launcher() -> None:
    assert launcher_of({}) == "embedded"
    assert launcher_of(SRUN) == "slurm"
    assert launcher_of({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) == "embedded", "a shell of srun --pty"
    batch_script = {"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0", "SLURM_NTASKS": "16"}
    assert launcher_of(batch_script) == "embedded"
    assert launcher_of(TORCHRUN) == "torchrun"
    assert launcher_of({**TORCHRUN, "CROSS_RANK": "0"}) == "deepspeed"
    assert launcher_of({**SRUN, **TORCHRUN}) == "torchrun", "torchrun that srun started"


def test_slurm_variables_become_those_of_torch() -> None:
    found = slurm_variables(SRUN)
    assert {key: found[key] for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")} == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu007",
    }
    assert found == slurm_variables({**SRUN, "SLURM_PROCID": "9"}), "all tasks find the same place"
    ports = {slurm_variables({**SRUN, "SLURM_JOB_ID": str(job)})["MASTER_PORT"] for job in range(4711, 4811)}
    assert len(ports) == 100
    assert all(20_000 <= int(port) < 30_000 for port in ports)
    assert slurm_variables({**SRUN, "MASTER_PORT": "5"})["MASTER_PORT"] == "5"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("login1", "login1"),
        ("gpu[007-012,020],login1", "gpu007"),
        ("a,b,c", "a"),
        ("rack1-node[3,5]", "rack1-node3"),
        ("n[1-2]-ib,n7-ib", "n1-ib"),
        ("10.0.0.5", "10.0.0.5"),
    ],
)
def test_the_first_host_of_a_list_of_slurm(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_process_that_nobody_started_is_told_what_is_missing_and_the_way_out() -> None:
    with pytest.raises(SettingError, match=r"not started by srun: SLURM_PROCID is not set.*--print-command"):
        adopt({}, "slurm")
    with pytest.raises(SettingError, match=r"not started by torchrun: .*MASTER_PORT are not set.*--launcher torchrun"):
        adopt({"RANK": "0"}, "torchrun")
    environment = dict(SRUN)
    adopt(environment, "slurm")
    assert environment["RANK"] == "9"


def test_cores_are_shared_by_the_processes_of_this_machine_alone() -> None:
    assert processes_here({"WORLD_SIZE": "64", "LOCAL_WORLD_SIZE": "8"}) == 8
    assert processes_here({"WORLD_SIZE": "4"}) == 4
    assert processes_here({"WORLD_SIZE": "64", "SLURM_CPUS_PER_TASK": "8"}) == 1


def test_messages_wait_longer_than_the_watchdog() -> None:
    assert patience(WatchSettings()).total_seconds() > 30 * 60
    assert patience(WatchSettings(save_minutes=90)).total_seconds() == 95 * 60
