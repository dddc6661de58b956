"""What a measurement gives: rates, percentiles, and ratios of what ran in turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Round:
    """One timed round: how many were done in how many seconds, and how long each took (seconds)."""

    done: int
    seconds: float
    latencies: list[float] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time, by what used it."""

    @property
    def rate(self) -> float:
        """Per second."""
        return self.done / self.seconds


@dataclass
class Series:
    """The rounds of one contestant."""

    name: str
    rounds: list[Round] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median of the rounds' rates, per second."""
        return statistics.median(one.rate for one in self.rounds)

    def percentile(self, percent: int) -> float:
        """Over all rounds' latencies, in milliseconds; 0 when none were taken."""
        latencies = sorted(latency for one in self.rounds for latency in one.latencies)
        return latencies[min(len(latencies) - 1, len(latencies) * percent // 100)] * 1000 if latencies else 0.0

    def cost(self, part: str) -> float:
        """Milliseconds of processor time that `part` used for one: what else the machine does hardly matters."""
        return statistics.median(one.used[part] / one.done for one in self.rounds) * 1000

    def ratio_to(self, other: Series) -> float:
        """The median of this one's rate over the other's, round by round: the machine's drift cancels out."""
        return statistics.median(
            mine.rate / theirs.rate for mine, theirs in zip(self.rounds, other.rounds, strict=True)
        )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rate_rows(series: Sequence[Series], base: Series) -> list[list[str]]:
    """A row a contestant: rate, p50, p95, and its rate beside the base's."""
    return [
        [
            one.name,
            f"{one.rate:.0f}/s",
            f"{one.percentile(50):.1f} ms",
            f"{one.percentile(95):.1f} ms",
            "1" if one is base else f"{one.ratio_to(base):.2f}",
        ]
        for one in series
    ]
