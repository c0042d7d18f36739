"""The plan of a statement in a few lines: what happens alike in many partitions is told once, with its count."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from sqlalchemy import Connection

_DAY = re.compile(r"history_\d{8}")


def plan_of(connection: Connection, statement: str, parameters: Any) -> dict[str, Any]:  # noqa: ANN401 the driver's
    """Return the steps of STATEMENT's plan; on PostgreSQL with the ms of planning and execution, after it ran."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return {"steps": [row[3] for row in rows]}
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    found = connection.exec_driver_sql(explain, parameters).scalar_one()[0]
    connection.rollback()
    return {
        "steps": _counted(_steps(found["Plan"], 0)),
        "planning_ms": round(found["Planning Time"], 2),
        "execution_ms": round(found["Execution Time"], 2),
        "pages": found["Plan"].get("Shared Hit Blocks", 0) + found["Plan"].get("Shared Read Blocks", 0),
    }


def _steps(node: dict[str, Any], depth: int) -> list[str]:
    """Return what NODE and the nodes below it do, the outermost first."""
    words = [node["Node Type"]]
    if target := node.get("Index Name"):
        words.append(f"using {target}")
    if "Alias" in node and "Relation Name" in node:
        words.append(f"on {node['Relation Name']}")
    steps = [" " * depth + _DAY.sub("history_DAY", " ".join(words))]
    for below in node.get("Plans", []):
        steps.extend(_steps(below, depth + 1))
    return steps


def _counted(steps: list[str]) -> list[str]:
    counts = Counter(steps)
    return [step if count == 1 else f"{step} ({count} times)" for step, count in counts.items()]
