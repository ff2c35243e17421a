"""Compare the installed libraries with the known vulnerabilities; `make check` calls it.

python tests/audit_libraries.py [PROGRAM ...]

pip-audit ends with 1 both for what it finds and where it reaches no index, and with 0 where a mirror knows none
of the libraries. Here: 1 for what was found, 0 otherwise, and in words how many libraries were not looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PROGRAM = (sys.executable, "-m", "pip_audit")
OPTIONS = ("--local", "--skip-editable", "--progress-spinner", "off", "--timeout", "10", "--format", "json")
LIMIT_S = 180


def main(program: tuple[str, ...]) -> int:
    try:
        done = subprocess.run(
            [*program, *OPTIONS], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        libraries: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, OSError, ValueError, KeyError):
        print("the index of vulnerabilities cannot be reached here: the libraries are not compared with it")
        return 0
    known = [one for one in libraries if "skip_reason" not in one]
    found = [(one, flaw) for one in known for flaw in one["vulns"]]
    for one, flaw in found:
        fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(f"{one['name']} {one['version']} has {flaw['id']}, repaired in {fixed}")
    if not known:
        print("the index here knows none of the libraries: they are not compared with known vulnerabilities")
    elif not found:
        print(f"{len(known)} of {len(libraries)} libraries compared with known vulnerabilities: none")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or PROGRAM))
