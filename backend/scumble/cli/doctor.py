"""`scumble doctor`: what is right, what is wrong, and how to mend it; with --fix it mends what it can."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable

from ..client.hosts import this_machine
from ..home import Home, find_home
from ..models.download import fetch_fill_model
from .checks import PULL, Finding, check_all

HEALTHY, ILL = 0, 4


def run(args: argparse.Namespace) -> int:
    """Exit code 0 where there is no problem (left), else 4."""
    home = find_home()
    findings = []
    for finding in check_all(home, this_machine()):
        if not args.json:
            print(line(finding), flush=True)
        is_mended = args.fix and finding.level == "problem" and mend(finding, home, ask)
        if is_mended:
            finding = dataclasses.replace(finding, level="ok", detail=f"{finding.detail} (mended)", mend="")
            if not args.json:
                print("         mended", flush=True)
        findings.append(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    if args.json:
        fields = ("level", "what", "detail", "mend")
        print(json.dumps([{name: getattr(finding, name) for name in fields} for finding in findings]))
    else:
        print("\nAll is well." if not problems else f"\n{problems} problem{'s' * (problems > 1)}, see above.")
    return ILL if problems else HEALTHY


def line(finding: Finding) -> str:
    text = f"{finding.level:<8} {finding.what}: {finding.detail}"
    return f"{text}\n         -> {finding.mend}" if finding.mend else text


def mend(finding: Finding, home: Home, ask: Callable[[str], bool]) -> bool:
    """Repairs a problem where that can be done, and says whether it is. What costs a download is asked for first."""
    try:
        if finding.repair is not None:
            return finding.repair()
        if finding.mend == PULL and ask("Fetch the fill model now (28 MB)?"):
            fetch_fill_model(home)
            return True
    except OSError as error:
        print(f"         cannot be mended: {error.strerror}")
    return False


def ask(question: str) -> bool:
    """False where nobody is there to answer."""
    return sys.stdin.isatty() and input(f"         {question} [y/N] ").strip().lower() in ("y", "yes")
