"""Starting the processes of a training job: here, or as one of those that another launcher started."""

from trainer.launch.embedded import launch, launch_with
from trainer.launch.family import OnEvent
from trainer.launch.process import KEEP_FREED_MEMORY

__all__ = ["KEEP_FREED_MEMORY", "OnEvent", "launch", "launch_with"]
