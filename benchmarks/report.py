"""Report of a run: a table, targets met or missed, and a plot for each group of rows.

docs/internals/performance.md holds the words; between its two marks stands what `write` puts there.
"""

from __future__ import annotations

import html
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import overview, profiles
from benchmarks.measurement import OURS, Result, Scenario, cpu_each
from benchmarks.scenarios import SCENARIOS

PAGE = Path(__file__).parent.parent / "docs" / "internals" / "performance.md"
PLOTS = PAGE.parent / "performance"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PRIVATE_TARGETS = (("server", 2.35), ("agent", 2.35))  # 12 MiB beside 5.1
COLOURS = {
    "native": "#2563eb",
    "compiled": "#0e7490",
    "2 workers": "#7c3aed",
    "grpcio": "#94a3b8",
    "haproxy": "#d97706",
    "reference": "#059669",
    "direct": "#cbd5e1",
}


@dataclass
class Run:
    """Results of one run.

    Args:
        results: by scenario, then by side: one for each turn.
        peaks: MiB at most, of server and agent, by side.
        rest: resident KiB before the load, the same.
        private: KiB of anonymous memory before the load, the same: the cost of one more process to a machine.
        missing: sides that could not be measured, with the reason.
        profiles: profile of server and agent, as text.

    """

    results: dict[str, dict[str, list[Result]]]
    peaks: dict[str, list[float]]
    rest: dict[str, list[float]]
    private: dict[str, list[float]]
    missing: list[str]
    rounds: int
    profiles: str = ""

    @property
    def scenarios(self) -> list[Scenario]:
        return [each for each in SCENARIOS if each.name in self.results]

    def document(self) -> dict[str, Any]:
        return vars(self) | {"cores": os.cpu_count()}

    def values(self, scenario: Scenario, side: str) -> list[float]:
        runs = self.results[scenario.name].get(side, [])
        return [run[scenario.value] for run in runs if scenario.value in run]

    def column(self, scenario: Scenario, name: str) -> float | None:
        """Return the median of the side that stands in a column, such as "native" for "native, 20 ms"."""
        side = next((each for each in self.results[scenario.name] if each.partition(",")[0] == name), name)
        return self.median(scenario, side)

    def beside_reference(self) -> dict[str, dict[str, float]]:
        """Return for each row of the overview each side's ratio to the reference: above 1 is better."""
        found: dict[str, dict[str, float]] = {}
        for scenario in self.scenarios:
            reference = self.column(scenario, "reference")
            if scenario.name not in overview.ROWS or not reference:
                continue
            for side in overview.SIDES:
                value = self.column(scenario, side)
                if value:
                    ratio = value / reference if scenario.better == "more" else reference / value
                    found.setdefault(overview.ROWS[scenario.name], {})[side] = ratio
        return found

    def median(self, scenario: Scenario, side: str) -> float | None:
        values = self.values(scenario, side)
        return statistics.median(values) if values else None

    def names(self) -> list[str]:
        """Return the names of the sides, without the delays that belong to the scenarios' names."""
        found = [side.partition(",")[0] for each in self.results.values() for side in each]
        return [name for name in (*COLOURS, *sorted(set(found) - set(COLOURS))) if name in found]

    def text(self) -> str:
        """Return the table in Markdown: median (least to most), and CPU of server and agent per operation or GiB."""
        names = self.names()
        lines = ["| scenario | unit | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
        for scenario in self.scenarios:
            cells = {side.partition(",")[0]: self._cell(scenario, side) for side in self.results[scenario.name]}
            lines.append(f"| {scenario.name} | {scenario.unit} | {' | '.join(cells.get(name, '') for name in names)} |")
        lines += ["", "| MiB: server + agent | private, at rest | resident, at rest | resident, at most |"]
        lines.append("|---|---|---|---|")
        for side, peak in self.peaks.items():
            if side.endswith(" ms"):  # the same programs as another side, on a longer line
                continue
            rest = " + ".join(f"{kib / 1024:.0f}" for kib in self.rest[side])
            private = " + ".join(f"{kib / 1024:.1f}" for kib in self.private[side])
            lines.append(f"| {side} | {private} | {rest} | {' + '.join(f'{mib:.0f}' for mib in peak)} |")
        lines += ["", *(f"Not run: {each.removeprefix('not run: ')}." for each in self.missing)]
        return "\n".join(lines)

    def targets(self) -> str:
        """Return each target with the medians of the ratios of turns that were measured side by side."""
        names = [name for name in OURS if name in self.names()]
        lines = [f"| scenario | beside | wanted | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
        for scenario in self.scenarios:
            less = scenario.better == "less"
            for side, wanted in scenario.targets:
                ratios = [self._ratios(scenario, own, side, partial(_value, scenario)) for own in names]
                lines.append(_target(scenario.name, side, wanted, less, ratios))
            for side, wanted in scenario.cpu_targets:
                ratios = [self._ratios(scenario, own, side, cpu_each) for own in names]
                lines.append(_target(f"{scenario.name}: CPU", side, wanted, True, ratios))
        if {*names, "reference"} <= self.rest.keys():
            found = [[self.rest[own][1] / self.rest["reference"][1]] for own in names]
            lines.append(_target("agent's resident memory at rest", "reference", 1.0, True, found))
            for number, (name, wanted) in enumerate(PRIVATE_TARGETS):
                found = [[self.private[own][number] / self.private["reference"][number]] for own in names]
                lines.append(_target(f"{name}'s private memory at rest", "reference", wanted, True, found))
        return "\n".join(lines)

    def _ratios(self, scenario: Scenario, own: str, side: str, figure: Callable[[Result], float | None]) -> list[float]:
        """Return own / side for each turn in which both have the figure."""
        of = self.results[scenario.name]
        ours = next((runs for name, runs in of.items() if name.partition(",")[0] == own), [])
        pairs = [(figure(each), figure(other)) for each, other in zip(ours, of.get(side, []), strict=False)]
        return [each / other for each, other in pairs if each is not None and other]

    def _cell(self, scenario: Scenario, side: str) -> str:
        runs, values = self.results[scenario.name][side], self.values(scenario, side)
        if not values:
            return str(runs[0].get("error", "failed")).replace("|", "\\|")
        text = _number(statistics.median(values))
        if len(values) > 1:
            text += f" ({_number(min(values))} to {_number(max(values))})"
        done = [run for run in runs if run.get("operations") and run.get("cpu_s")]
        if done and scenario.unit in ("1/s", "MiB/s", "p50 us"):
            costs = [
                statistics.median(run["cpu_s"][i] / run["operations"] for run in done)
                for i in range(len(done[0]["cpu_s"]))
            ]
            bulk = scenario.unit == "MiB/s"
            spent = [f"{cost:.1f}" if bulk else f"{cost * 1e6:.0f}" for cost in costs]
            text += f"; {' + '.join(spent)} {'s/GiB' if bulk else 'us'}"
        return text


def _value(scenario: Scenario, result: Result) -> float | None:
    value: float | None = result.get(scenario.value)
    return value


def _target(what: str, side: str, wanted: float, less: bool, ratios: list[list[float]]) -> str:
    """Return the row of a target, with a cell for the ratios of each build."""
    cells = " | ".join(_found(each, wanted, less) for each in ratios)
    return f"| {what} | {side} | {'at most' if less else 'at least'} {wanted:g} | {cells} |"


def _found(ratios: list[float], wanted: float, less: bool) -> str:
    if not ratios:
        return "not measured"
    ratio = statistics.median(ratios)
    met = ratio <= wanted if less else ratio >= wanted
    return f"{ratio:.2f}{'' if met else ', missed'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}"


def write(run: Run) -> None:
    """Write table, targets and plots into the page."""
    PLOTS.mkdir(exist_ok=True)
    parts = [BEGIN]
    plots = []
    beside = run.beside_reference()
    if beside:
        (PLOTS / "overview.svg").write_text(overview.draw(beside))
        parts.append("![ratio to the reference](performance/overview.svg)")
    groups = list(dict.fromkeys(each.group for each in run.scenarios))
    for group in groups:
        path = PLOTS / f"{group.replace(', ', '-').replace(' ', '-')}.svg"
        path.write_text(plot(group, [each for each in run.scenarios if each.group == group], run))
        plots.append(f"![{group}](performance/{path.name})")
    if run.profiles:
        profiles.write(run.profiles)
    text = PAGE.read_text()
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    rounds = f"{run.rounds} rounds, {os.cpu_count()} cores."
    body = "\n\n".join((*parts, rounds, run.text(), "### Targets", run.targets(), "### Plots", *plots))
    PAGE.write_text(f"{head}{body}\n\n{tail}")


def plot(title: str, scenarios: list[Scenario], run: Run) -> str:
    """Draw a bar for each scenario and side; each scenario's scale ends with its longest bar."""
    rows: list[tuple[str, str, float, float]] = []  # label, side, share of the longest, value
    for scenario in scenarios:
        found = {side: run.median(scenario, side) for side in run.results[scenario.name]}
        known = {side: value for side, value in found.items() if value is not None and value == value}
        most = max((value for side, value in known.items() if not side.startswith("direct")), default=1.0) or 1.0
        rows.append((f"{scenario.name} [{scenario.unit}]", "", 0.0, 0.0))
        rows += [("", side, min(1.0, value / most), value) for side, value in known.items()]
    height, width, left, bar = 22, 760, 120, 480
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height * (len(rows) + 2)}" role="img">',
        f"<title>{html.escape(title)}</title>",
        "<style>text{font:13px system-ui,sans-serif;fill:#1e293b}.h{font-weight:600}"
        "@media(prefers-color-scheme:dark){text{fill:#e2e8f0}}</style>",
    ]
    for number, (label, side, share, value) in enumerate(rows, 1):
        y = number * height
        if label:
            parts.append(f'<text class="h" x="8" y="{y + 15}">{html.escape(label)}</text>')
            continue
        colour = COLOURS.get(side.partition(",")[0], "#64748b")
        parts.append(
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{html.escape(side.partition(",")[0])}</text>'
        )
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{max(1, share * bar):.0f}" height="15" rx="2" fill="{colour}"/>'
        )
        parts.append(f'<text x="{left + max(1, share * bar) + 6:.0f}" y="{y + 15}">{_number(value)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
