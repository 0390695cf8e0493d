"""Turns on a shared line: by bytes, those that were quiet first, nobody starved."""

from __future__ import annotations

from konnectivity.tunnel.scheduler import QUANTUM, Scheduler


class Waiting:
    """A link as far as the scheduler is concerned."""

    def __init__(self, name: str, size: int, log: list[str]) -> None:
        self.name = name
        self.size = size
        self.log = log
        self.scheduled = False

    def take_turn(self, quantum: int) -> bool:
        self.log.append(self.name)
        self.size -= min(self.size, quantum)
        return self.size > 0


def served(scheduler: Scheduler, turns: int) -> None:
    for _ in range(turns):
        if scheduler:
            scheduler.turn()


def test_equal_shares():
    log: list[str] = []
    scheduler = Scheduler()
    for name in "abc":
        scheduler.add(Waiting(name, 10 * QUANTUM, log))
    served(scheduler, 30)
    assert sorted(log) == ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    assert not scheduler


def test_a_keystroke_passes_bulk():
    log: list[str] = []
    scheduler = Scheduler()
    for number in range(20):
        scheduler.add(Waiting(f"bulk{number}", 100 * QUANTUM, log))
    served(scheduler, 60)  # all of them have had their first turn
    log.clear()
    scheduler.add(Waiting("key", 1, log))
    served(scheduler, 2)
    assert "key" in log


def test_many_keystrokes_do_not_starve_bulk():
    log: list[str] = []
    scheduler = Scheduler()
    scheduler.add(Waiting("bulk", 100 * QUANTUM, log))
    served(scheduler, 1)
    for _ in range(50):
        scheduler.add(Waiting("key", 1, log))
        scheduler.add(Waiting("key", 1, log))
        served(scheduler, 2)
    assert log.count("bulk") > 40
