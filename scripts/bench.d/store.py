"""The store alone on PostgreSQL, as full as asked: fills, measures, fills on. `store_bench` does the work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import tables
from split import POSTGRES

CHECKOUT = Path(__file__).resolve().parents[2]
SIZES = [100_000, 1_000_000, 10_000_000]
BENCH = ["cargo", "run", "--release", "--locked", "--quiet", "-p", "tidegate-pipeline", "--example", "store_bench", "--"]
LOAD = "--users 100000 --contacts 20 --batches 500,50,1 --seconds 5 --rate 1000"

# A column, the line it is read from, which of its numbers, and how many digits.
COLUMNS = [
    ("filled at messages/s", r"^\d+ stored, on average (\d+) msg/s", 0),
    ("in batches of 500 messages/s", r"^batch +500: +(\d+) msg/s", 0),
    ("p50 ms", r"^batch +500: .* p50 ([\d.]+) ms", 1),
    ("p99 ms", r"^batch +500: .* p99 ([\d.]+) ms", 1),
    ("of 50 messages/s", r"^batch +50: +(\d+) msg/s", 0),
    ("one at a time p50 ms", r"^batch +1: .* p50 ([\d.]+) ms", 2),
    ("p99 ms", r"^batch +1: .* p99 ([\d.]+) ms", 2),
    ("1,000/s offered p50 ms", r"^calm +\d+/s: .*?p50 ([\d.]+) ms", 2),
    ("p99 ms", r"^calm +\d+/s: .*?p99 ([\d.]+) ms", 2),
    ("page of 50 µs", r"^page of 50: (\d+) µs", 0),
    ("10,000 heads ms", r"^\d+ heads: ([\d.]+) ms", 1),
]


def numbers(text: str) -> list[int]:
    """Rising, from the command line."""
    return sorted(int(number) for number in text.split(","))


def run(sizes: list[int]) -> None:
    """A line for each size. The server is this run's own, and goes with it."""
    services = [str(CHECKOUT / "scripts" / "services"), "run", "postgres", "--"]
    subprocess.run([*BENCH[:1], "build", *BENCH[2:-1]], cwd=CHECKOUT, check=True)
    again = [sys.executable, __file__, ",".join(map(str, sizes))]
    done = subprocess.run([*services, *again], cwd=CHECKOUT, env=os.environ | {"POSTGRES_SETTINGS": POSTGRES})
    if done.returncode:
        sys.exit(done.returncode)


def measure(sizes: list[int], url: str) -> None:
    """Within `scripts/services run`."""
    print(f"`store_bench {LOAD} --store postgres://…`, PostgreSQL with {POSTGRES}; one run, all CPUs for both\n")
    tables.head("messages stored before", [name for name, _, _ in COLUMNS])
    stored = 0
    for size in sizes:
        words = f"{LOAD} --stored {stored} --messages {max(size - stored, 0)}".split()
        done = subprocess.run([*BENCH, *words, "--store", url], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.returncode)
        tables.row(f"{size:,}", cells(done.stdout))
        stored = int(last(r"^(\d+) messages sent so far", done.stdout))
    print()


def cells(output: str) -> list[str]:
    """A row, from what `store_bench` says."""
    found = [(last(pattern, output), digits) for _, pattern, digits in COLUMNS]
    return [tables.cell([float(number) if number else None], digits) for number, digits in found]


def last(pattern: str, output: str) -> str | None:
    """The number in the last line that has it."""
    found = re.findall(pattern, output, re.MULTILINE)
    return found[-1] if found else None


if __name__ == "__main__":
    measure(numbers(sys.argv[1]), os.environ["TIDEGATE_TEST_POSTGRES"])
