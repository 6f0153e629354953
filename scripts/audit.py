#!/usr/bin/env python3
"""Ask a vulnerability service about every pin of requirements/core.txt, by pip-audit.

    .venv/bin/python scripts/audit.py

The exit status is 1 when a pin has a known vulnerability or only some could be asked about. Where the service does not
answer, or pip-audit cannot be had, nothing has been audited: it says so and ends with 0, so that a machine behind a
mirror can go on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP_AUDIT = ["tool", "run", "--quiet", "pip-audit==2.9.0", "--disable-pip", "--require-hashes", "--format=json"]


def main() -> None:
    """Audit the pins and tell what was found."""
    command = [sys.executable, "-m", "uv", *PIP_AUDIT, "--progress-spinner=off", "--requirement=requirements/core.txt"]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, check=False)
        pins = json.loads(ran.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        print("audit: nothing was audited, pip-audit did not run or had no answer in time")
        return
    print(verdict(pins))
    if any(pin.get("vulns") for pin in pins) or 0 < len(unasked(pins)) < len(pins):
        sys.exit(1)


def verdict(pins: list[dict[str, object]]) -> str:
    """Return what the answers of the service come to."""
    found = [f"{pin['name']} {pin['version']}: {pin['vulns']}" for pin in pins if pin.get("vulns")]
    missing = unasked(pins)
    if len(missing) == len(pins):
        return "audit: nothing was audited, the vulnerability service does not answer here"
    lines = [f"audit: {len(pins) - len(missing)} of {len(pins)} packages audited, {len(found)} with vulnerabilities"]
    return "\n".join([*lines, *found, *(f"{name}: not audited" for name in missing)])


def unasked(pins: list[dict[str, object]]) -> list[str]:
    """Return the names of those that the service said nothing about."""
    return [str(pin["name"]) for pin in pins if "skip_reason" in pin]


if __name__ == "__main__":
    main()
