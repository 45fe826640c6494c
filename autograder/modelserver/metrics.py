"""Counters and histograms, in Prometheus' text format under TensorFlow Serving's names, types and units.

Only what this server does is counted. The names of families that the real server declares and that stay without a
sample here are listed in `metric_families.txt`, so that a scrape shows the same families.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Final

Labels = tuple[str, ...]


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """The limits of TensorFlow's exponential buckets, without the last, infinite one."""
    return tuple(scale * growth**power for power in range(count))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Counter:
    """A family of counters, one for each combination of label values."""

    kind = "counter"

    def __init__(self, name: str, labels: Labels = ()) -> None:
        self.name = name
        self._labels = labels
        self._values: dict[Labels, int] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, amount: int = 1) -> None:
        """Adds to the counter with these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + amount

    def lines(self) -> Iterable[str]:
        """The samples."""
        with self._lock:
            samples = sorted(self._values.items())
        for values, count in samples:
            yield f"{self.name}{{{_label_text(self._labels, values)}}} {count}"


class Histogram:
    """A family of histograms; a value equal to a limit counts in the next bucket, as in TensorFlow."""

    kind = "histogram"

    def __init__(self, name: str, limits: Sequence[float], labels: Labels = ()) -> None:
        self.name = name
        self._labels = labels
        self._limits = limits
        self._values: dict[Labels, tuple[list[int], list[float]]] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        """Adds a value to the histogram with these label values."""
        with self._lock:
            known = self._values.get(labels)
            if known is None:
                known = self._values[labels] = ([0] * (len(self._limits) + 1), [0.0])
            known[0][bisect_right(self._limits, value)] += 1
            known[1][0] += value

    def totals(self) -> tuple[int, float]:
        """How many values there have been, and their sum."""
        with self._lock:
            return (
                sum(sum(counts) for counts, _ in self._values.values()),
                sum(total[0] for _, total in self._values.values()),
            )

    def lines(self) -> Iterable[str]:
        """The samples."""
        with self._lock:
            samples = [(labels, list(counts), total[0]) for labels, (counts, total) in sorted(self._values.items())]
        for values, counts, total in samples:
            text = _label_text(self._labels, values)
            comma = "," if text else ""
            cumulative = 0
            for limit, count in zip((*self._limits, float("inf")), counts, strict=True):
                cumulative += count
                bound = "+Inf" if limit == float("inf") else f"{limit:.6g}"
                yield f'{self.name}_bucket{{{text}{comma}le="{bound}"}} {cumulative}'
            yield f"{self.name}_sum{{{text}}} {total:.6g}"
            yield f"{self.name}_count{{{text}}} {cumulative}"


class Derived:
    """A counter without labels whose value is read from a histogram when it is asked for."""

    kind = "counter"

    def __init__(self, name: str, value: Callable[[], int]) -> None:
        self.name = name
        self._value = value

    def lines(self) -> Iterable[str]:
        """The sample, once there is something to count."""
        value = self._value()
        if value:
            yield f"{self.name}{{}} {value}"


def _label_text(names: Labels, values: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


_Family = Counter | Histogram | Derived

_LATENCY: Final = exponential(10, 1.8, 33)
_SIZES: Final = exponential(1, 2, 14)
_SERVING = ":tensorflow:serving:"


class Metrics:
    """Everything that this server counts. Latencies are in microseconds."""

    def __init__(self, batching: bool = False) -> None:
        """
        Args:
            batching: also have the families that exist only with batching on.
        """
        core = ":tensorflow:core:"
        saved_model = ":tensorflow:cc:saved_model:"
        session = f"{_SERVING}batching_session:"
        self.request_count = Counter(f"{_SERVING}request_count", ("model_name", "status"))
        self.request_latency = Histogram(f"{_SERVING}request_latency", _LATENCY, ("model_name", "API", "entrypoint"))
        self.runtime_latency = Histogram(f"{_SERVING}runtime_latency", _LATENCY, ("model_name", "API", "runtime"))
        self.warmup_latency = Histogram(f"{_SERVING}model_warmup_latency", _LATENCY, ("model_path", "status"))
        self.warmup_records = Counter(f"{_SERVING}model_warmup_records_read", ("model_path",))
        self.load_attempts = Counter(f"{saved_model}load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter(f"{saved_model}load_latency", ("model_path",))
        self.graph_run_times = Histogram(f"{core}graph_run_time_usecs_histogram", exponential(1000, 2, 20))
        self.session_runs = Derived(f"{core}direct_session_runs", lambda: self.graph_run_times.totals()[0])
        self.graph_runs = Derived(f"{core}graph_runs", lambda: self.graph_run_times.totals()[0])
        self.graph_run_time = Derived(f"{core}graph_run_time_usecs", lambda: int(self.graph_run_times.totals()[1]))
        self.queuing_latency = Histogram(f"{session}queuing_latency", exponential(100, 1.2, 52), ("thread_pool_name",))
        self.wrapped_runs = Counter(f"{session}wrapped_run_count")
        self.input_batch_size = Histogram(f"{session}input_batch_size", _SIZES)
        self.padding_size = Histogram(f"{session}padding_size", _SIZES, ("execution_batch_size",))
        self.processed_batch_size = Histogram(f"{session}processed_batch_size", _SIZES)
        families: list[_Family] = [
            family for family in vars(self).values() if isinstance(family, Counter | Histogram | Derived)
        ]
        if not batching:
            families = [
                family
                for family in families
                if family not in (self.input_batch_size, self.padding_size, self.processed_batch_size)
            ]
        known = {family.name for family in families}
        text = (resources.files(__package__) / "metric_families.txt").read_text("utf-8")
        empty = [tuple(line.split()) for line in text.splitlines() if line and not line.startswith("#")]
        self._families: list[tuple[str, str, _Family | None]] = sorted(
            [(family.name, family.kind, family) for family in families]
            + [(name, kind, None) for name, kind in empty if name not in known],
            key=lambda entry: entry[0],
        )

    def text(self) -> bytes:
        """All families in Prometheus' text format."""
        lines: list[str] = []
        for name, kind, family in self._families:
            lines.append(f"# TYPE {name} {kind}")
            if family is not None:
                lines.extend(family.lines())
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")

    def ran(self, model: str, api: str, microseconds: float) -> None:
        """Counts one successful run of a session."""
        self.graph_run_times.observe(microseconds)
        self.runtime_latency.observe(int(microseconds), model, api, "TF1")
