"""Training on Ray: one actor a device, each with a training process of its own.

    driver --- placement group: a bundle {GPU: 1, CPU: 1} (or {CPU: n}) a process
      |---- actor of rank 0 --- python -m trainer.worker job.json     events come back through the actor
      |---- actor of rank 1 --- ...

An actor only starts its process, looks after it and tells the driver; the process is the same as everywhere, so it may
use the GPU, take signals and end as it likes, and Ray's own threads do not share its interpreter. A process ends when
its actor is gone, and actors end with the driver. Ray never restarts an actor by itself: after a failure all processes
start again from the last good checkpoint (`trainer.launch.supervisor`), since none can go on without the others.

The run's directory must be one that all nodes reach, and gptmill must be installed on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.kernels.compiled import ensure_compiled
from trainer.data.shards import KERNELS
from trainer.job import TrainingJob
from trainer.launch.embedded import free_port, launch_with
from trainer.launch.family import OnEvent
from trainer.launch.process import Place, Report, TrainingProcess
from trainer.launch.requests import AskedBefore, nobody_asked
from trainer.parallel.layout import Layout

PLACEMENT_SECONDS = 120.0
"""How long the cluster has to find room for all processes at once."""
REPORT_SECONDS = 0.5
"""How long the driver waits for the reports of all actors before it looks at what it has."""


def launch_on_ray(ray: Any, job: TrainingJob, on_event: OnEvent, asked_before: AskedBefore = nobody_asked) -> int:
    """Run a job on a connected Ray; see `trainer.launch.launch`."""
    ensure_compiled(KERNELS)
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))

    def start(job_file: Path, layout: Layout) -> RayProcesses:
        return start_actors(ray, job_file, layout, gpus, cores, job.settings.threads_per_process)

    return launch_with(job, on_event, start, gpus=gpus, cores=cores, asked_before=asked_before)


def start_actors(ray: Any, job_file: Path, layout: Layout, gpus: int, cores: int, threads: int | None) -> RayProcesses:
    """Start an actor and its process for each rank of a layout.

    Raises:
        UserError: the cluster has no room for all of them.
    """
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    world = layout.world
    share: dict[str, float] = {"CPU": 1, "GPU": 1} if gpus else {"CPU": threads or max(1, cores // world)}
    for name, amount in share.items():
        if (there := ray.cluster_resources().get(name, 0)) < amount * world:
            raise UserError(
                f"{world} processes need {amount * world:g} {name}, the Ray cluster has {there:g}: lower "
                "parallel.data or threads_per_process in the recipe, or add machines"
            )
    group = placement_group([share] * world, strategy="PACK")
    try:
        ray.get(group.ready(), timeout=PLACEMENT_SECONDS)
        actor = ray.remote(num_cpus=share["CPU"], num_gpus=share.get("GPU", 0), max_restarts=0, max_task_retries=0)(
            TrainingActor
        )
        actors = [
            actor.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle)).remote()
            for bundle in range(world)
        ]
        hosts = ray.get([entry.host.remote() for entry in actors], timeout=PLACEMENT_SECONDS)
        # Neighbouring ranks share layers: they belong on one node.
        order = sorted(range(world), key=lambda number: (hosts.index(hosts[number]), number))
        actors, hosts = [actors[number] for number in order], [hosts[number] for number in order]
        address, port = ray.get(actors[0].meeting_point.remote(), timeout=PLACEMENT_SECONDS)
        started = []
        for rank, entry in enumerate(actors):
            # Ray shows an actor its own GPU alone, so each is the first one there.
            local_rank = 0 if gpus else hosts[:rank].count(hosts[rank])
            place = Place(rank, world, local_rank, hosts.count(hosts[rank]), address, port)
            started.append(entry.start.remote(str(job_file), place, int(share["CPU"]) if not gpus else threads or 1))
        ray.get(started, timeout=PLACEMENT_SECONDS)
    except ray.exceptions.GetTimeoutError as fault:
        remove_placement_group(group)
        raise UserError(
            f"the Ray cluster found no room for {world} processes at once within {PLACEMENT_SECONDS:.0f} s: "
            "`ray status` shows who holds its devices"
        ) from fault
    except BaseException:
        remove_placement_group(group)
        raise
    return RayProcesses(ray, group, actors, hosts)


class TrainingActor:
    """Runs on the node of its device and holds one training process."""

    def __init__(self) -> None:
        self._process: TrainingProcess | None = None

    def host(self) -> str:
        """Address of this node."""
        import ray

        services: Any = ray.util
        return str(services.get_node_ip_address())

    def meeting_point(self) -> tuple[str, int]:
        """Where the processes of the run meet, when this is the first of them."""
        return self.host(), free_port()

    def start(self, job_file: str, place: Place, threads: int) -> None:
        """Start the process."""
        self._process = TrainingProcess(Path(job_file), place, threads)

    def report(self) -> Report:
        """What is known of the process."""
        assert self._process is not None
        return self._process.report()

    def ask_to_stop(self) -> None:
        """Let it finish the step, save and end."""
        if self._process is not None:
            self._process.ask_to_stop()

    def print_stacks(self) -> None:
        """Make it write its stacks to its log."""
        if self._process is not None:
            self._process.print_stacks()

    def kill(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()


class RayProcesses:
    """The actors of a run, by rank."""

    def __init__(self, ray: Any, group: Any, actors: Sequence[Any], hosts: Sequence[str]) -> None:
        self.actors = actors
        self._ray, self._group, self._hosts = ray, group, hosts
        self._asked: dict[int, Any] = {}
        self._lost: dict[int, str] = {}

    def reports(self) -> list[Report]:
        """What is known of each; an actor that does not answer in time is asked no second time."""
        for rank, actor in enumerate(self.actors):
            if rank not in self._asked and rank not in self._lost:
                self._asked[rank] = actor.report.remote()
        waiting = list(self._asked.values())
        if waiting:
            self._ray.wait(waiting, num_returns=len(waiting), timeout=REPORT_SECONDS)
        return [self._report(rank) for rank in range(len(self.actors))]

    def _report(self, rank: int) -> Report:
        if rank in self._lost:
            return Report(lost=self._lost[rank])
        reference = self._asked[rank]
        if not self._ray.wait([reference], timeout=0)[0]:
            return Report()
        del self._asked[rank]
        try:
            report: Report = self._ray.get(reference)
        except self._ray.exceptions.RayError as fault:
            reason = type(fault).__name__
            self._lost[rank] = (
                f"the Ray actor of rank {rank} on {self._hosts[rank]} is gone ({reason}): it was killed, ran out of "
                "memory, or its node is down"
            )
            return Report(lost=self._lost[rank])
        return report

    def ask_to_stop(self) -> None:
        """Let all finish the step, save and end."""
        for actor in self.actors:
            actor.ask_to_stop.remote()

    def print_stacks(self, ranks: Sequence[int]) -> None:
        """Make these write their stacks to their logs."""
        for rank in ranks:
            self.actors[rank].print_stacks.remote()

    def kill(self) -> None:
        """End all processes, then their actors, and give the devices back."""
        ended = [actor.kill.remote() for actor in self.actors]
        self._ray.wait(ended, num_returns=len(ended), timeout=10.0)
        for actor in self.actors:
            self._ray.kill(actor)
        self._ray.util.remove_placement_group(self._group)
