"""What became of a plan that was built: compared with the model, it may be used, or must never be.

The verdict is part of its key, so that no reader meets a plan whose comparison has not ended, however it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sam_edge.errors import PlanError
from sam_edge.storage.files import locked, os_errors_as_output_error, write_bytes

from .plan_cache import PlanKey, discard_plan, dump, key_path, parse, read_key

Plans = Mapping[Path, str]
"""Plan in the cache -> hash of its bytes when the comparison began."""


def unverified_plans(plans: Mapping[Path, Path]) -> Plans:
    """Those of these plans (graph -> plan) that were never compared."""
    keys = {plan: read_key(plan) for plan in plans.values()}
    return {plan: key.plan_sha256 for plan, key in keys.items() if key.unverified}


def accept_plan(path: Path, plan_sha256: str) -> None:
    """Let everybody use a plan, if it is still the one that was compared.

    Raises:
        OutputError: the cache cannot be written.
    """
    with locked(path.with_suffix(".lock"), lambda: None):
        if _is(path, plan_sha256):
            write_bytes(key_path(path), dump(replace(read_key(path), unverified=False)))
            with os_errors_as_output_error(path):
                _refusal(path).unlink(missing_ok=True)


def refuse_plan(path: Path, plan_sha256: str) -> None:
    """Remove a plan, if it is still the one that was compared, and remember it; raises as `accept_plan`."""
    with locked(path.with_suffix(".lock"), lambda: None):
        if _is(path, plan_sha256):
            write_bytes(_refusal(path), dump(read_key(path)))
            discard_plan(path)


def was_refused(path: Path, key: PlanKey) -> bool:
    """Whether a plan of this key was built there and refused; whatever hash its bytes had."""
    try:
        refused = parse(_refusal(path).read_bytes(), str(_refusal(path)))
    except (OSError, PlanError):
        return False
    return replace(refused, plan_sha256=key.plan_sha256, unverified=key.unverified) == key


def _refusal(path: Path) -> Path:
    return path.with_suffix(".refused")


def _is(path: Path, plan_sha256: str) -> bool:
    try:
        return read_key(path).plan_sha256 == plan_sha256
    except PlanError:  # another process has removed it
        return False
