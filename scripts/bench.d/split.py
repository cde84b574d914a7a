"""The split form: a cluster by scripts/cluster in a folder of its own, loaded by `tidegate bench` from all its gateways.

Nothing is pinned to a CPU: the servers, the cluster and the clients share them all.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import metrics
import tables
from columns import CLIENT_CPU, FAULTS, RATE, latency, server_cpu

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "scripts" / "services.d"))

from folder import Folder
from tidegate import Cluster

# What a server with a few GiB is given; the defaults of PostgreSQL are those of a machine of 2005.
POSTGRES = "shared_buffers=2GB max_wal_size=8GB wal_compression=lz4 checkpoint_timeout=15min"
MARIADB = "innodb_buffer_pool_size=2G innodb_log_file_size=2G"
ENVIRONMENT = {"POSTGRES_SETTINGS": POSTGRES, "MARIADB_SETTINGS": MARIADB}

PARTS = ("load", "partitions", "gateways")
STORES = {"postgres": "postgres", "mariadb": "mysql"}
NAMES = {"ws": "WS", "quic": "QUIC"}
SHORT = "--duration 4s --warm-up 1s"
CLOSED_1 = f"direct --pairs 100 --outstanding 1 {SHORT}"
CLOSED_16 = f"direct --pairs 100 --outstanding 16 {SHORT}"
CALM = f"direct --pairs 100 --rate 1000 {SHORT}"

RAISED = [
    "limits.messages_per_second=1000000",
    "limits.messages_burst=1000000",
    "limits.max_connections_per_address=0",
    "log.level=warn",
]

CPU = server_cpu("CPU µs each, all processes")
LOAD = [RATE, CPU, CLIENT_CPU,
        *latency("ACCEPTED", "accepted_us"), *latency("STORED", "stored_us"), *latency("delivered", "delivered_us"), FAULTS]


def mean_ms(name):
    """A histogram of seconds, its mean in ms."""
    def value(result):
        mean = result["added"].mean(f"tidegate_{name}")
        return None if mean is None else mean * 1e3
    return value


def per_stored(name):
    """A counter, by message stored."""
    def value(result):
        stored = result["added"].total("tidegate_messages_total", stage="stored")
        return result["added"].total(f"tidegate_{name}") / stored if stored else None
    return value


STAGES = [
    ("receipt ms", mean_ms("receipt_seconds"), 2),
    ("append ms", mean_ms("store_append_seconds"), 2),
    ("records an append", lambda r: r["added"].mean("tidegate_store_batch_records"), 1),
    ("to the recipient's connection ms", mean_ms("delivery_seconds"), 2),
]
CALLS = [
    ("gateways a message was for", per_stored("link_messages_total"), 2),
    ("calls a message", per_stored("link_calls_total"), 3),
]


def process_columns(store: str):
    """CPU of each kind of process."""
    def column(kind):
        return (f"{kind} CPU µs", lambda r: r["cpu_us_per_message_by_process"][kind], 1)
    return [column(kind) for kind in ("gateway", "pipeline", "kafka", "redis", store)]


def run(store: str, runs: int, parts: list[str], results: Path) -> None:
    """Brings up, measures, takes down."""
    # So that whoever ends the script ends the cluster.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Rig(store, results) as rig:
        for part in parts:
            {"load": load, "partitions": partitions, "gateways": gateways}[part](rig, runs)


def load(rig: "Rig", runs: int) -> None:
    """From end to end, and by stage."""
    rig.shape(gateways=3, pipelines=2, partitions=16)
    seen = {}
    for arguments in (CLOSED_1, CLOSED_16, CALM):
        rig.title(arguments, "3 gateways, 2 pipelines, 16 partitions", runs)
        tables.head("transport", [name for name, _, _ in LOAD])
        for wire in NAMES:
            seen[arguments, wire] = [rig.bench(arguments, wire) for _ in range(runs)]
            tables.row(NAMES[wire], cells(LOAD, seen[arguments, wire]))
        print()
    print("The same runs by process (CPU for each message) and by stage (means, from the metrics, warm-up included)\n")
    columns = process_columns(rig.store) + STAGES
    tables.head("load", [name for name, _, _ in columns])
    for (arguments, wire), of_load in seen.items():
        tables.row(f"{NAMES[wire]}, {short(arguments)}", cells(columns, of_load))
    print()


def partitions(rig: "Rig", runs: int) -> None:
    """Messages per second against partitions and pipelines."""
    columns = [RATE, CPU, *latency("delivered", "delivered_us"), STAGES[1], STAGES[2], FAULTS]
    rig.title(f"{CLOSED_16} --transport quic", "3 gateways", of_scale(runs))
    tables.head("partitions, pipelines", [name for name, _, _ in columns])
    for count in (1, 4, 16):
        for pipelines in (1, 2):
            rig.shape(gateways=3, pipelines=pipelines, partitions=count)
            results = [rig.bench(CLOSED_16, "quic") for _ in range(of_scale(runs))]
            tables.row(f"{count}, {pipelines}", cells(columns, results))
    print()


def gateways(rig: "Rig", runs: int) -> None:
    """Calls per message against gateways, each pair on two of them."""
    columns = [RATE, CPU, *process_columns(rig.store)[:2], *CALLS, *latency("delivered", "delivered_us"), FAULTS]
    seen = {}
    for count in (1, 3, 5):
        rig.shape(gateways=count, pipelines=2, partitions=16)
        for arguments in (CALM, CLOSED_16):
            seen[arguments, count] = [rig.bench(arguments, "quic") for _ in range(of_scale(runs))]
    for arguments in (CALM, CLOSED_16):
        rig.title(f"{arguments} --transport quic", "2 pipelines, 16 partitions", of_scale(runs))
        tables.head("gateways = calls to all", [name for name, _, _ in columns])
        for (_, count), results in filter(lambda one: one[0][0] == arguments, seen.items()):
            tables.row(str(count), cells(columns, results))
        print()


def of_scale(runs: int) -> int:
    """How often a load runs where there are many shapes: all together should take eight minutes."""
    return min(runs, 2)


def cells(columns, results):
    """A row's."""
    return [tables.cell([value(result) for result in results], digits) for _, value, digits in columns]


def short(arguments: str) -> str:
    """What sets a load apart."""
    return arguments.removeprefix("direct --pairs 100 --").removesuffix(f" {SHORT}").replace(" ", " = ")


class Rig:
    """The cluster, in the shape last asked for. Everything ends with it."""

    def __init__(self, store: str, results: Path):
        self.store = store
        self.results = results
        self.path = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
        # Servers have accounts of their own.
        self.path.chmod(0o711)
        self.cluster = Cluster(Folder(self.path / "cluster"))
        self.shapes = 0
        self.current = None

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_) -> None:
        try:
            if self.cluster.exists():
                self.script("down", "--wipe")
        finally:
            shutil.rmtree(self.path, ignore_errors=True)

    def shape(self, **wanted: int) -> None:
        """Starts the processes anew, on a topic of their own, unless they are as wanted."""
        if wanted == self.current:
            return
        if self.cluster.exists():
            # Nothing is under way. A gateway whose links are open would wait for its grace period.
            self.stop(self.cluster.pipelines())
            self.stop(self.cluster.gateways())
        self.shapes += 1
        self.current = wanted
        settings = [*RAISED, f"kafka.partitions={wanted['partitions']}", f"kafka.topic=bench.{self.shapes}.messages",
                    f"kafka.dead_topic=bench.{self.shapes}.dead", f"kafka.group=bench.{self.shapes}"]
        self.script("up", "--store", STORES[self.store], "--gateways", str(wanted["gateways"]),
                    "--pipelines", str(wanted["pipelines"]), *(word for one in settings for word in ("--set", one)))
        self.wait_for_partitions(wanted["partitions"])
        if self.shapes == 1:
            # Kafka compiles itself while it runs.
            self.bench(CLOSED_16, "quic")

    def stop(self, processes: list) -> None:
        """All at once."""
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(lambda process: self.script("stop", process.name), processes))

    def wait_for_partitions(self, count: int) -> None:
        """Until they are shared out evenly, and stay so."""
        deadline, even_since = time.monotonic() + 90, None
        while even_since is None or time.monotonic() - even_since < 3:
            held = [metrics.look([self.admin(one)]).total("tidegate_kafka_partitions_held") for one in self.cluster.pipelines()]
            even = sum(held) == count and max(held) - min(held) <= 1
            even_since = (even_since or time.monotonic()) if even else None
            if time.monotonic() > deadline:
                sys.exit(f"the {count} partitions are not shared out evenly after 90 s but {held}")
            time.sleep(0.3)

    def title(self, arguments: str, shape: str, runs: int) -> None:
        """Above a table."""
        transport = "" if "--transport" in arguments else " --transport …"
        runs_text = f"{runs} run{'s' if runs > 1 else ''} each"
        print(f"`tidegate bench {arguments}{transport}` with Kafka, Redis and {self.store}; {shape}; {runs_text}\n")

    def bench(self, arguments: str, wire: str) -> dict:
        """One run's report, with what it has `added` to the metrics. One that lost, doubled or reordered ends the script."""
        admins = [self.admin(one) for one in self.cluster.processes()]
        command = [self.cluster.program(), "bench", *arguments.split(), "--transport", wire, *self.whereabouts(wire)]
        before = metrics.look(admins)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=180, env=environment())
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        report = json.loads(done.stdout) | {"store": self.store, **self.current}
        with self.results.open("a") as file:
            file.write(json.dumps(report) + "\n")
        return report | {"added": metrics.look(admins) - before}

    def whereabouts(self, wire: str) -> list[str]:
        """The gateways, what is needed to get in, and the processes whose CPU counts."""
        homes = [self.cluster.folder.home(gateway.name) for gateway in self.cluster.gateways()]
        words = ["--data", str(homes[0].data), "--cert-hash", self.cluster.fingerprint()]
        for home in homes:
            words += ["--server", f"127.0.0.1:{home.port('http' if wire == 'ws' else 'quic')}"]
        for name in self.cluster.members():
            words += ["--process", f"{name.partition('-')[0]}={self.cluster.folder.home(name).process().pid}"]
        return words

    def admin(self, process) -> str:
        """Where its metrics are."""
        return process.addresses(self.cluster.folder.home(process.name))["admin"]

    def script(self, *words: str) -> None:
        """scripts/cluster; what it says matters only if it fails."""
        command = [str(CHECKOUT / "scripts" / "cluster"), words[0], "--dir", str(self.path / "cluster"), *words[1:]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
                              env=os.environ | ENVIRONMENT)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}")


def environment() -> dict[str, str]:
    """Without what the program would take for settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
