"""How many cores this process may really use, where affinity and control groups allow fewer than there are."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT, allowed: frozenset[int] | None = None) -> int:
    """Physical cores that the scheduler gives this process, at least 1.

    Two hyperthreads share one core's arithmetic units, so a second thread of dense arithmetic on them gains
    nothing. A control group's quota of 1.5 cores counts as 1: a thread that is throttled stalls the others.

    Args:
        root: the folder that stands for `/`; tests emulate other machines below it.
        allowed: numbers of the processors that may be used; None asks the operating system.
    """
    if allowed is None:
        allowed = _affinity()
    siblings = {_siblings(root, number) for number in allowed}
    quota = _quota(root)
    return max(1, min(len(siblings), int(quota) if quota else len(siblings)))


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _siblings(root: Path, number: int) -> str:
    """What all processors of one physical core have in common."""
    topology = root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
    return read_text(topology) or str(number)


def _quota(root: Path) -> float | None:
    """Cores granted by the tightest control group above this process (cgroup v2, then v1), or None."""
    quotas = []
    for line in read_text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            quotas += [_quota_v2(folder) for folder in _up(root / "sys/fs/cgroup", group)]
        elif "cpu" in controllers.split(","):
            base = root / "sys/fs/cgroup" / controllers
            quotas += [_quota_v1(folder) for folder in _up(base, group)]
            quotas += [_quota_v1(folder) for folder in _up(root / "sys/fs/cgroup/cpu", group)]
    return min((quota for quota in quotas if quota), default=None)


def _up(base: Path, group: str) -> list[Path]:
    """A group's folder and all above it. A container sees its own group as the top one, by another name."""
    parts = [part for part in group.split("/") if part not in {"", ".."}]
    return [base.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = read_text(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(folder: Path) -> float | None:
    return _ratio(read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """Quota over period; "max" and -1 mean no limit."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def read_text(path: Path) -> str:
    """A small file's text without the white space around it; "" if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
