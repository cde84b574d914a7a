"""Several servers of one folder at once: up together or not at all, and down."""

import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import lifecycle
import ports
from folder import Folder
from service import Service


def bring_up(folder: Folder, services: list[Service]) -> None:
    """All of them at once; if one fails, those started here are stopped again."""
    cancelled = threading.Event()
    started = []

    def one(service):
        if lifecycle.up(service, folder.home(service.name), cancelled):
            started.append(service)

    with ThreadPoolExecutor(len(services)) as pool:
        tasks = [pool.submit(one, service) for service in services]
        try:
            failed = [task.exception() for task in wait(tasks, return_when=FIRST_EXCEPTION).done if task.exception()]
        except BaseException:
            cancelled.set()
            raise
        if failed:
            cancelled.set()
    if failed:
        for service in started:
            lifecycle.stop(service, folder.home(service.name))
        raise failed[0]


def take_down(folder: Folder, services: Iterable[Service], wipe: bool, beside: Iterable[str] = ()) -> None:
    """Stops them all and gives back the folder's ports; removes what was made in it, also what is `beside` the services, if
    that is asked for or it is temporary."""
    services = list(services)
    stop_all(folder, services)
    ports.release(folder.path)
    if wipe or folder.temporary():
        folder.remove([*(service.name for service in services), *beside])


def stop_all(folder: Folder, services: Iterable[Service]) -> None:
    """Stops them all at once; they count as not up from then on."""
    services = list(services)
    with ThreadPoolExecutor(max(len(services), 1)) as pool:
        tasks = [pool.submit(lifecycle.down, service, folder.home(service.name)) for service in services]
    for task in tasks:
        task.result()
