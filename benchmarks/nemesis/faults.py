"""Faults of a running stack. Each one acts and then restores the stack, except for a false clock."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from redis.exceptions import RedisError

from benchmarks.nemesis.databases import Victim
from benchmarks.nemesis.history import History
from benchmarks.nemesis.proxy import Address, Proxy
from models_store.broker import broker, wake
from models_store.settings import Settings
from tests.end_to_end.stack import LEASE_SECONDS, Stack, eventually

PARTITIONED, CROWDED, JUMPING = "worker0", "worker1", "worker2"
SCRATCH_BYTES = 4 * 2**20
PAUSE_SECONDS, PARTITION_SECONDS, RESTART_SECONDS, FULL_SECONDS = 4.0, LEASE_SECONDS + 3, 2.0, 4.0
CLOCK_SOURCE = Path(__file__).with_name("false_clock.c")
CLOCKS = ("3600", "-3600", "0")
SPURIOUS_MESSAGES = 5


@dataclass(frozen=True)
class Fault:
    """`weight` is its relative frequency; `stops` names the parts that do not answer meanwhile."""

    name: str
    act: Callable[[], None]
    weight: int = 1
    stops: Sequence[str] = ()


@dataclass
class Nemesis:
    """Injects faults into a stack whose workers are behind proxies, on a small disk, with a false clock.

    `untried` gives the reason for each fault that this machine or database does not allow.
    """

    stack: Stack
    victim: Victim
    history: History
    rng: random.Random
    workers: int
    untried: dict[str, str] = field(default_factory=dict)
    _proxies: list[Proxy] = field(default_factory=list)

    def prepare(self) -> None:
        """Before the stack starts."""
        self._broker = self._proxy(("127.0.0.1", self.stack.broker_port))
        self.stack.changes[PARTITIONED] = {
            "DERMATRIAGE_BROKER_URL": f"redis://127.0.0.1:{self._broker.port}/0",
        }
        faults = [
            Fault("a trial gets SIGKILL", self._kill_trial, 4),
            Fault("a worker gets SIGKILL", self._kill_worker, 4),
            Fault("the sweeper gets SIGKILL", lambda: self._renew("sweeper"), 2),
            Fault("the web server gets SIGKILL", lambda: self._renew("web"), 2, ["web"]),
            Fault("the broker gets SIGKILL", self._kill_broker, 2),
            Fault("everything gets SIGKILL at once", self._kill_all, 1, ["web"]),
            Fault("a worker gets SIGSTOP for longer than a lease", self._stop_worker, 2),
            Fault("partition of a worker and the broker", lambda: self._partition(self._broker), 2),
            Fault("every message is lost", self._lose_messages, 2),
            Fault("every message comes twice, and some that nobody sent", self._duplicate_messages, 2),
            Fault("the database stands still", lambda: self.victim.pause(PAUSE_SECONDS), 2, ["database"]),
        ]
        if self.victim.is_postgresql:
            self._database = self._proxy(f"{self.victim.place}/.s.PGSQL.5432")
            behind = f"postgresql://postgres:@127.0.0.1:{self._database.port}/postgres"
            self.stack.changes[PARTITIONED]["DERMATRIAGE_DATABASE_URL"] = behind
            faults += [
                Fault("PostgreSQL is ended and restarts", self._restart_database, 1, ["database"]),
                Fault("partition of a worker and the database", lambda: self._partition(self._database), 2),
            ]
        else:
            for name in ("PostgreSQL is ended and restarts", "partition of a worker and the database"):
                self.untried[name] = "SQLite is a file"
        faults += [*self._with_small_disk(), *self._with_false_clock()]
        self.faults = faults

    def inject_fault(self) -> None:
        """Injects one fault, chosen by weight, and records its start and end in the history."""
        fault = self.rng.choices(self.faults, [each.weight for each in self.faults])[0]
        began = time.time()
        fault.act()
        self.history.add("fault", name=fault.name, stops=list(fault.stops), began=began, ended=time.time())

    def reset_clock(self) -> None:
        """Sets the clock right after the last fault."""
        if JUMPING in self.stack.changes:
            self._clock.write_text("0")

    def close(self) -> None:
        """Unmounts the disk and closes the proxies."""
        for proxy in self._proxies:
            proxy.close()
        if CROWDED in self.stack.changes:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=False)

    def _proxy(self, target: Address) -> Proxy:
        self._proxies.append(Proxy(target))
        return self._proxies[-1]

    def _kill_trial(self) -> None:
        trials = [pid for pid, command in self.stack.marked().items() if "scripted_trial" in command]
        if trials:
            with suppress(ProcessLookupError):
                os.killpg(self.rng.choice(trials), signal.SIGKILL)

    def _kill_worker(self) -> None:
        self._renew(self._any_worker())

    def _renew(self, name: str) -> None:
        self.stack.kill(name)
        self.stack.start_process(name)
        if name == "web":
            eventually(self.stack.web_answers, 90, "an answer of the web server")

    def _kill_broker(self) -> None:
        self.stack.kill("broker")
        self.stack.start_broker()

    def _kill_all(self) -> None:
        names = [name for name in self.stack.processes if name != "broker"]
        for name in [*names, "broker"]:
            self.stack.processes[name].send_signal(signal.SIGKILL)
        for name in [*names, "broker"]:
            self.stack.processes.pop(name).wait(30)
        self.stack.start_broker()
        for name in names:
            self.stack.start_process(name)
        eventually(self.stack.web_answers, 90, "an answer of the web server")

    def _stop_worker(self) -> None:
        process = self.stack.processes[self._any_worker()]
        process.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 3)
        process.send_signal(signal.SIGCONT)

    def _partition(self, proxy: Proxy) -> None:
        proxy.stall()
        time.sleep(PARTITION_SECONDS)
        proxy.resume()

    def _restart_database(self) -> None:
        self.victim.restart(RESTART_SECONDS)

    def _lose_messages(self) -> None:
        with suppress(RedisError), self.stack.redis() as redis:
            redis.flushall()

    def _duplicate_messages(self) -> None:
        with suppress(RedisError), self.stack.redis() as redis:
            if waiting := redis.lrange("cpu", 0, -1):
                redis.lpush("cpu", *waiting)
        celery = broker(Settings(broker_url=self.stack.broker_url, _env_file=None))
        with suppress(Exception):  # the driver raises many kinds while the broker is unreachable
            wake(celery, "cpu", SPURIOUS_MESSAGES)
        celery.close()

    def _with_small_disk(self) -> list[Fault]:
        name, self._disk = "the scratch disk of a worker is full", self.stack.folder / "small"
        self._disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SCRATCH_BYTES}", "none", str(self._disk)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
            self.untried[name] = "mounting a small disk takes root"
            return []
        self.stack.changes[CROWDED] = {"DERMATRIAGE_WORK_ROOT": str(self._disk / "work")}
        return [Fault(name, self._fill_disk, 2)]

    def _fill_disk(self) -> None:
        filler = self._disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        time.sleep(FULL_SECONDS)
        filler.unlink()

    def _with_false_clock(self) -> list[Fault]:
        name, library = "the clock of a worker jumps by an hour", self.stack.folder / "false_clock.so"
        if not self.victim.is_postgresql:
            self.untried[name] = "with SQLite everything runs on one machine, by its one clock"
            return []
        build = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(CLOCK_SOURCE)]
        if shutil.which("cc") is None or subprocess.run(build, capture_output=True, check=False).returncode:
            self.untried[name] = "there is no C compiler"
            return []
        self._clock = self.stack.folder / "clock"
        self._clock.write_text("0")
        self.stack.changes[JUMPING] = {"LD_PRELOAD": str(library), "FALSE_CLOCK": str(self._clock)}
        return [Fault(name, self._set_clock, 2)]

    def _set_clock(self) -> None:
        self._clock.write_text(self.rng.choice(CLOCKS))

    def _any_worker(self) -> str:
        return f"worker{self.rng.randrange(self.workers)}"
