"""Functions are short, with their docstrings."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MOST_LINES = 60
MOST_LINES_OF_19_IN_20 = 36


def lengths() -> dict[str, int]:
    """Lines of each function of the library and of what runs it, from ``def`` to its end."""
    found = {}
    for folder in ("cloudbuster", "lambdas", "infra", "containers", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    name = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                    found[name] = (node.end_lineno or node.lineno) - node.lineno + 1
    return found


def test_functions_are_short() -> None:
    found = lengths()
    assert len(found) > 2000
    assert {name: lines for name, lines in found.items() if lines > MOST_LINES} == {}
    longest_first = sorted(found.values(), reverse=True)
    assert longest_first[len(found) // 20] <= MOST_LINES_OF_19_IN_20
