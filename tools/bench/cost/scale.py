"""Does time grow with the graph: ``clean,fold-bn`` on a small and a large residual graph, beside onnxsim."""

from __future__ import annotations

from pathlib import Path

from tools.bench.cost.synthetic import COMPUTE_NODES_LEFT_A_BLOCK, NODES_A_BLOCK, residual_graph
from tools.bench.support import subject
from tools.bench.support.facts import facts
from tools.bench.support.measure import Least, interleaved
from tools.bench.support.peers import chosen
from tools.bench.support.session import Session, cost_row
from tools.bench.support.tables import MEGA, Goal, Record, figure, show, show_goals

SMALL, LARGE = 5_000, 50_000
PEERS = ("onnxsim", "onnxruntime basic")
TIME_PEER = "onnxsim"
PASSES = "clean,fold-bn"
RATIO_LIMIT = 12.0
PEAK_LIMIT = 700 * MEGA


def bench(session: Session, small: int, large: int, with_subject: bool) -> Record:
    """Measure both sizes, print the table and the goals; the record of it all."""
    record = session.record("scale")
    costs: dict[int, dict[str, Least]] = {}
    rows = []
    for nodes in (small, large):
        model = residual_graph(session.scratch / f"residual-{nodes}.onnx", nodes)
        commands, outputs = _commands(session, model, with_subject)
        costs[nodes] = interleaved(commands, session.runs, session.scratch, session.limits)
        for tool, cost in costs[nodes].items():
            left = None if cost.failure else facts(outputs[tool]).compute
            record.rows.append({**cost_row(f"{nodes} nodes", tool, cost), "nodes": nodes, "compute": left})
            rows.append(_printed(nodes, tool, left, cost))
    show("residual graph", ("nodes, tool", "compute left", "CPU s", "peak MB", "remark"), rows)
    if with_subject:
        record.goals += goals(record, costs[small], costs[large], large)
        show_goals(record.goals)
    return record


def goals(record: Record, small: dict[str, Least], large: dict[str, Least], nodes: int) -> list[Goal]:
    """Growth of graphopt's time, its time beside the peer's, its memory, and that the work was done."""
    first, last, peer = small[subject.NAME], large[subject.NAME], large[TIME_PEER]
    failed = bool(first.failure or last.failure)
    left = [row["compute"] for row in record.rows if row["nodes"] == nodes and row["tool"] == subject.NAME]
    peer_seconds = None if peer.failure else peer.cpu
    return [
        Goal(
            "growth",
            "CPU s of the large graph / of the small",
            None if failed else last.cpu / first.cpu,
            RATIO_LIMIT,
        ),
        Goal("large graph", f"CPU s, {TIME_PEER}'s", None if failed else last.cpu, peer_seconds),
        Goal("large graph", "peak bytes", None if failed else last.peak, PEAK_LIMIT),
        Goal("large graph", "compute nodes", left[0], nodes // NODES_A_BLOCK * COMPUTE_NODES_LEFT_A_BLOCK),
    ]


def _commands(
    session: Session, model: Path, with_subject: bool
) -> tuple[dict[str, list[str]], dict[str, Path]]:
    """The command line of every tool for one model, and where each writes."""
    names = (*PEERS, *([subject.NAME] if with_subject else []))
    outputs = {name: session.scratch / f"{model.stem}.{name.replace(' ', '-')}.onnx" for name in names}
    commands = {
        peer.name: peer.command(session.environment, str(model), str(outputs[peer.name]))
        for peer in chosen(PEERS)
    }
    if with_subject:
        flags = (model, outputs[subject.NAME], PASSES, *subject.BARE)
        commands[subject.NAME] = subject.optimize(session.start, *flags)
    return commands, outputs


def _printed(nodes: int, tool: str, left: int | None, cost: Least) -> tuple[str, ...]:
    return (f"{nodes:,} {tool}", figure(left), f"{cost.cpu:.2f}", f"{cost.peak / MEGA:.0f}", cost.failure)
