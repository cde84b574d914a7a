"""Columns that several tables have: a heading, how the figure is read off a run's report, and its digits."""


def latency(name, key):
    """Of a latency, in ms."""
    return [(f"{name} ms {q}", lambda r, q=q: r[key][q] / 1e3, 2) for q in ("p50", "p99")]


def server_cpu(name):
    """Of each message, in all processes that the run was told of."""
    return (name, lambda r: r["server_cpu_us_per_message"], 1)


RATE = ("messages/s", lambda r: r["received_per_second"], 0)
CLIENT_CPU = ("clients' CPU µs each", lambda r: r["client_cpu_us_per_message"], 1)
FANOUT = [
    ("deliveries/s", lambda r: r["deliveries_per_second"], 0),
    ("per second of server CPU", lambda r: r["deliveries_per_server_cpu_second"], 0),
    ("server CPU µs each", lambda r: r["server_cpu_us_per_delivery"], 2),
    ("clients' CPU µs each", lambda r: r["client_cpu_us_per_delivery"], 2),
    ("messages per write", lambda r: r["messages_per_write"], 1),
    *latency("delivered", "delivered_us"),
    ("lost, doubled, reordered", lambda r: r["lost"] + r["doubled"] + r["reordered"] + r["misplaced"], 0),
]
FAULTS = ("lost, doubled, reordered", lambda r: r["lost"] + r["doubled"] + r["reordered"], 0)
