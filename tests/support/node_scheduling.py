"""Scheduling of test files in a run with several processes: the last one runs tests/node, the others all the rest.

The files of tests/node share a cluster, which waits more than it computes, so that they run beside other files.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

NODES = "tests/node/"


class NodeScheduling(LoadFileScheduling):
    """Scheduling by file, but for the files of tests/node, which are one unit of work with a process of their own."""

    def _split_scope(self, nodeid: str) -> str:
        return NODES if nodeid.startswith(NODES) else str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Assign work of the process's kind; if no other is left, any process takes that of a process which crashed."""
        if node.gateway.id == f"gw{self.numnodes - 1}":
            if NODES not in self.workqueue:
                node.shutdown()
                return
            self.workqueue.move_to_end(NODES, last=False)
        elif NODES in self.workqueue:
            self.workqueue.move_to_end(NODES)
        super()._assign_work_unit(node)
