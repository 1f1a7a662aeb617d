"""Mutated files against everything that parses: what was typed, and what must not be.

python -m benchmarks.fuzz [--cases 2400] [--minutes 30] [--seed 0] [--data SLIDES] [--only NAME]
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from benchmarks.fuzz.pool import Case, Finding, run_cases
from benchmarks.fuzz.subjects import make_subjects


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz and print; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2400)
    parser.add_argument("--minutes", type=float, default=30.0, help="no further case after that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of real slides")
    parser.add_argument("--only", default="", help="subjects whose name contains this")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        subjects = make_subjects(Path(folder) / "good", given.data)
        subjects = tuple(s for s in subjects if given.only in s.name)
        end = time.monotonic() + 60 * given.minutes
        cases = (
            Case(subject=subjects[n % len(subjects)], seed=f"{given.seed}/{n}")
            for n in takewhile(lambda _: time.monotonic() < end, range(given.cases))
        )
        findings = []
        for finding in run_cases(cases, Path(folder) / "cases", workers=given.workers):
            findings.append(finding)
            if finding.is_defect:
                name, seed = finding.case.subject.name, finding.case.seed
                print(f"{finding.kind}: {name}, {seed}: {finding.detail}\n", flush=True)
    print_table(findings)
    return int(any(finding.is_defect for finding in findings))


def print_table(findings: Sequence[Finding]) -> None:
    """One line a subject, as Markdown: cases, how they ended, the slowest and the largest."""
    by_subject = defaultdict(list)
    for finding in findings:
        by_subject[finding.case.subject.name].append(finding)
    print("| subject | cases | ok | typed failure | must not be | CPU s, at most | peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    for name, of_subject in [*by_subject.items(), ("all", list(findings))]:
        ok = sum(finding.kind == "ok" for finding in of_subject)
        defects = Counter(finding.kind for finding in of_subject if finding.is_defect)
        wrong = ", ".join(f"{kind} {n}" for kind, n in defects.items()) or "0"
        typed = len(of_subject) - ok - defects.total()
        slowest = max(finding.seconds for finding in of_subject)
        peak = max(finding.peak_bytes for finding in of_subject) >> 20
        line = (name, len(of_subject), ok, typed, wrong, f"{slowest:.1f}", peak)
        print(f"| {' | '.join(map(str, line))} |")
    kinds = Counter(finding.kind for finding in findings)
    print("\n" + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()))


if __name__ == "__main__":
    sys.exit(main())
