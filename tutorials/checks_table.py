"""Print the table of the exercises' checks: what each says of its solution, of the stub, and of the wrong answers.

python tutorials/checks_table.py > table.md
"""

import sys

from minicrnn.checks.audit import all_checks, audit


def main() -> int:
    """Print the table in Markdown; returns how many checks have a fault."""
    print("| check | solution | stub | wrong answer | rejected with |\n|---|---|---|---|---|")
    bad = 0
    for path, check in all_checks():
        result = audit(check)
        row = [path.removeprefix("minicrnn.checks."), _said(result.solution.passed), _said(result.stub.passed)]
        for name, (verdict, _) in result.wrong.items():
            print(f"| {' | '.join(row)} | {name} | {'PASSED' if verdict else verdict.hint.replace('|', '∣')} |")
            row = ["", "", ""]
        for fault in result.faults:
            print(f"| | | | FAULT | {fault} |")
        bad += bool(result.faults)
    return bad


def _said(passed: bool) -> str:
    return "passes" if passed else "fails"


if __name__ == "__main__":
    sys.exit(min(main(), 1))
