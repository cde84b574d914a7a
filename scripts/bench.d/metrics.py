"""What processes say at /metrics: read, summed over processes, and what was added between two looks. Pure but for `look`."""

import re
import urllib.request

_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Samples:
    """Values by name and labels, summed over processes."""

    def __init__(self, values: dict[tuple, float]):
        self.values = values

    def __sub__(self, before: "Samples") -> "Samples":
        return Samples({key: value - before.values.get(key, 0.0) for key, value in self.values.items()})

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        return sum(value for (one, has), value in self.values.items() if one == name and labels.items() <= dict(has).items())

    def mean(self, name: str) -> float | None:
        """Of a histogram; None if nothing was counted."""
        count = self.total(f"{name}_count")
        return self.total(f"{name}_sum") / count if count else None


def parse(*texts: str) -> Samples:
    """The samples of several processes in Prometheus' text format."""
    values: dict[tuple, float] = {}
    for text in texts:
        for line in text.splitlines():
            if sample := _SAMPLE.match(line):
                key = (sample[1], tuple(sorted(_LABEL.findall(sample[2] or ""))))
                values[key] = values.get(key, 0.0) + float(sample[3])
    return Samples(values)


def look(addresses: list[str]) -> Samples:
    """What the processes with these admin addresses say now."""
    return parse(*(_read(f"{address}/metrics") for address in addresses))


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()
