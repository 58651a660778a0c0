"""What torchrun runs as one job, though it may start the processes several times: after a failure, or as machines come
and go. A job goes on from what it has saved itself, and from nothing else that lies in its folder."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from resnet_dsl.runtime.parallel import Processes, from_each, from_first


@dataclass(frozen=True)
class Job:
    """A job of torchrun, as one start of its processes sees it."""

    name: str  # the --rdzv-id, or what torchrun says in its place
    number: str  # drawn by the first start that got so far, and kept by torchrun
    drawn: bool  # by this start
    restarted: bool  # whether there were starts before, as far as torchrun counts them

    def label(self) -> list[str]:
        """What a state says of the job that has saved it."""
        return [self.name, self.number]

    def owns(self, label: Any) -> bool:
        """Whether this job has saved a state, by its label.

        torchrun keeps the number on the machine of the first process. With that machine it is lost:
        then the job is known by its name, if it has one and this is not its first start.
        """
        if label == self.label():
            return True
        named = self.name not in ("", "none") and isinstance(label, list) and label[0] == self.name
        return named and self.drawn and self.restarted


def find_job(processes: Processes) -> Job | None:
    """The job that this process belongs to; None where torchrun has not started it. All processes
    have to ask."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    if name is None:
        return None
    # Machines count for themselves, and one that has just come has counted nothing.
    restarted = any(from_each(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"))
    own = kept = uuid.uuid4().hex
    if processes.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(host, port, is_master=False)  # type: ignore[attr-defined]
        kept = store.compare_set("resnet_dsl job", "", own).decode()
    number, drawn = from_first((kept, kept == own))
    return Job(name, number, drawn, restarted)
