"""MariaDB: durable as by default, time zone UTC."""

from pathlib import Path

from folder import Home
from service import NotReady, Service, program, request


class MariaDb(Service):
    """One server with the database `tidegate` of the user `tidegate`, who may make further databases."""

    name = "mariadb"
    account = "mysql"

    def missing(self) -> dict[str, str]:
        return {name: "mariadb-server" for name in ("mariadbd", "mariadb-install-db", "mariadb") if not program(name)}

    def create(self, home: Home, data: Path) -> None:
        self.set_up(home, [
            program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-name-resolve", "--skip-test-db",
            "--auth-root-authentication-method=socket",
        ])
        # Without the network, so that nobody can get in before the end.
        self.set_up(home, [program("mariadbd"), "--no-defaults", f"--datadir={data}", "--bootstrap"],
                    stdin=_SQL.format(password=home.password()))

    def command(self, home: Home) -> list[str]:
        return [
            program("mariadbd"), "--no-defaults", f"--datadir={home.data}",
            "--bind-address=127.0.0.1", f"--port={home.port()}", "--skip-name-resolve",
            # Relative to the data: a path of a socket may have 107 bytes; that of this folder may have more.
            "--socket=mariadb.sock", "--pid-file=mariadb.pid",
            "--default-time-zone=+00:00", "--character-set-server=utf8mb4", "--max-connections=400",
            *(f"--{name}={value}" for name, value in self.settings().items()),
        ]

    def ask(self, home: Home) -> None:
        if (answer := query(home, "SELECT 40 + 2")) != "42":
            raise NotReady(f"SELECT 40 + 2 was answered with {answer!r}")

    def url(self, home: Home) -> str:
        return f"mysql://tidegate:{home.password()}@127.0.0.1:{home.port()}/tidegate"


def query(home: Home, sql: str, database: str = "tidegate") -> str:
    """The answer, unadorned."""
    return request([
        program("mariadb"), "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={home.port()}", "--user=tidegate",
        "--connect-timeout=5", "--default-character-set=utf8mb4", "--batch", "--skip-column-names", "-e", sql, database,
    ], MYSQL_PWD=home.password())


# A bootstrapping server knows no users until it is told to read the tables it has just been given.
_SQL = """\
FLUSH PRIVILEGES;
CREATE USER tidegate@'%' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO tidegate@'%';
CREATE DATABASE tidegate CHARACTER SET utf8mb4;
"""
