"""Tables in Markdown: medians, with the lowest and the highest in brackets."""

import statistics


def head(first: str, names: list[str]) -> None:
    """Begins a table."""
    print(f"| {first} | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 1), flush=True)


def row(first: str, cells: list[str]) -> None:
    """A line of it."""
    print(f"| {first} | " + " | ".join(cells) + " |", flush=True)


def cell(values: list[float | None], digits: int) -> str:
    """The median, with the lowest and the highest where they differ; a dash if there is nothing."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    shown = [f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    return shown[0] if len(values) == 1 or shown[1] == shown[2] else f"{shown[0]} [{shown[1]}–{shown[2]}]"
