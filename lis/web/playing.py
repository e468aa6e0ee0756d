"""Simulations in the background: one process each, a few at once, results kept as files.

A request only queues an order. A thread takes the next one, starts a worker process for it and listens to
what it tells; whoever cancels ends the process. So the server never waits for a simulation, a simulation
that eats the memory takes nothing else with it, and a server that stops ends its workers.
"""

from __future__ import annotations

import json
import logging
import queue
import secrets
import threading
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

from lis.clock import to_text
from lis.errors import Busy, LisError, NotFound, Refused
from lis.web.played import Order, work

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from lis.clock import Clock
    from sim.page_words import Language

log = logging.getLogger(__name__)

WAITING: Final = 20
"""Orders that may wait; more are refused, because nobody would live to see them."""
KEPT: Final = 50
"""Finished simulations whose files stay; the oldest go first."""
OVER: Final = frozenset({"done", "failed", "cancelled"})
LANGUAGES: Final = ("zh", "en")


@dataclass(frozen=True, slots=True)
class Job:
    """One order and what has become of it.

    Attributes:
        state: waiting, running, done, failed or cancelled.
        done, of: replications played and to play; `of` is None where nobody can know.
        seconds_left: as far as the pace so far tells.
        document: what `lis simulate --json`, `lis plan --json` or `lis rota --json` would print.
        texts: the files of its scenarios, to order it again with a change.
        error: code, key and reason in both languages, when it failed; `reason_zh` is empty where only a
            programmer can be the cause.
        said: what a plan tried last.
    """

    id: str
    kind: str
    scenario: str
    seed: int
    replications: int
    by: str
    ordered_at: str
    state: str = "waiting"
    done: int = 0
    of: int | None = None
    seconds_left: float | None = None
    document: Any = None
    error: dict[str, str] | None = None
    said: str = ""
    texts: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """As the API tells it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class Simulations:
    """The simulations of one server.

    Args:
        folder: where results are kept.
        clock: for the moment of an order.
        at_once: worker processes at the same time.
    """

    folder: Path
    clock: Clock
    at_once: int = 1
    _jobs: dict[str, Job] = field(default_factory=dict)
    _line: queue.Queue[tuple[str, Order] | None] = field(default_factory=queue.Queue)
    _working: dict[str, BaseProcess] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _turn: threading.RLock = field(default_factory=threading.RLock)
    _open: bool = True

    def __post_init__(self) -> None:
        for path in sorted(self.folder.glob("*.json")):
            try:
                job = Job(**json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError):
                log.warning("%s is no simulation of this version; it is left where it is", path.name)
                continue
            if job.state not in OVER:
                error = _reason("SERVER_STOPPED", "the server was stopped", zh="服务器曾停止运行。")
                job = replace(job, state="failed", error=error)
            self._jobs[job.id] = job

    def order(self, order: Order, by: str) -> Job:
        """Queue an order.

        Raises:
            Busy: ``SIMULATIONS_BUSY``: too many wait, or the server is stopping.
        """
        now = self.clock.now()
        with self._turn:
            waiting = sum(job.state not in OVER for job in self._jobs.values())
            if not self._open or waiting >= WAITING:
                raise Busy(
                    "SIMULATIONS_BUSY",
                    f"{waiting} simulations wait already. Cancel one, or send this one later.",
                    count=str(waiting),
                )
            job = Job(
                id=f"{now:%Y%m%d%H%M%S}-{secrets.token_hex(4)}",
                kind=order.kind,
                scenario=" / ".join(one.name for one in order.scenarios),
                seed=order.seed,
                replications=order.replications,
                by=by,
                ordered_at=to_text(now),
                texts=tuple(one.text for one in order.scenarios),
            )
            self._keep(job)
            self._line.put((job.id, order))
            if len(self._threads) < self.at_once:
                name = f"simulations-{len(self._threads) + 1}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return job

    def job(self, job_id: str) -> Job:
        """One simulation.

        Raises:
            NotFound: ``SIMULATION_UNKNOWN``.
        """
        with self._turn:
            if job_id not in self._jobs:
                raise NotFound(
                    "SIMULATION_UNKNOWN",
                    f"There is no simulation {job_id[:40]}. The newest {KEPT} are kept; order it again.",
                    simulation=job_id[:40],
                )
            return self._jobs[job_id]

    def jobs(self) -> list[Job]:
        """All there are, the newest first."""
        with self._turn:
            return sorted(self._jobs.values(), key=lambda job: (job.ordered_at, job.id), reverse=True)

    def cancel(self, job_id: str) -> Job:
        """End a simulation that waits or runs; one that is over stays as it is."""
        with self._turn:
            job = self.job(job_id)
            if job.state in OVER:
                return job
            job = self._keep(replace(job, state="cancelled", seconds_left=None))
            process = self._working.get(job_id)
        if process is not None:
            process.terminate()
        return job

    def remove(self, job_id: str) -> Job:
        """Cancel a simulation, or throw the results of a finished one away."""
        with self._turn:
            job = self.job(job_id)
            if job.state in OVER:
                self._forget(job_id)
                return job
        return self.cancel(job_id)

    def content(self, job_id: str, language: str) -> str:
        """What the page for managers says, as a piece of HTML.

        Raises:
            Refused: ``SIMULATION_NOT_DONE``: there is none, because it is not done or was a plan.
        """
        job = self.job(job_id)
        path = self.folder / f"{job.id}.{language}.html"
        if language not in LANGUAGES or not path.is_file():
            raise Refused(
                "SIMULATION_NOT_DONE",
                f"Simulation {job.id} ({job.kind}) is {job.state}; it has no page. Wait until it is done; "
                "a plan and a rota have a document only.",
                simulation=job.id,
                state=job.state,
            )
        return path.read_text(encoding="utf-8")

    def page(self, job_id: str, language: Language) -> bytes:
        """The page for managers, to be opened anywhere; raises what :meth:`content` raises."""
        from sim.html import whole

        return whole(self.content(job_id, language), self.job(job_id).scenario, language).encode()

    def close(self) -> None:
        """End every worker; orders that wait are cancelled."""
        with self._turn:
            self._open = False
            open_jobs = [job.id for job in self._jobs.values() if job.state not in OVER]
        for job_id in open_jobs:
            self.cancel(job_id)
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads:
            thread.join(10.0)

    # -- threads -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while (item := self._line.get()) is not None:
            job_id, order = item
            try:
                self._attend(job_id, order)
            except (OSError, ValueError, LisError) as error:  # the next order must be taken all the same
                log.exception("simulation %s failed", job_id)
                zh = "仿真未能完成，原因见服务器日志。"
                self._failed(job_id, "NOT_PLAYED", f"{error}; the server's log says more", zh=zh)

    def _attend(self, job_id: str, order: Order) -> None:
        """Start a worker and listen to it until it is done or gone."""
        ours, theirs = get_context("spawn").Pipe(duplex=False)
        process = get_context("spawn").Process(target=work, args=(theirs, order), daemon=True)
        with self._turn:
            if self.job(job_id).state != "waiting":
                return
            process.start()
            theirs.close()
            self._working[job_id] = process
            self._keep(replace(self.job(job_id), state="running"))
        try:
            while self._heard(job_id, ours.recv()):
                pass
        except EOFError:
            zh = "仿真进程意外结束，可能内存不足。"
            self._failed(
                job_id, "WORKER_DIED", "its process ended; there may be too little memory for it", zh=zh
            )
        finally:
            ours.close()
            process.terminate()
            process.join()
            with self._turn:
                del self._working[job_id]

    def _heard(self, job_id: str, told: tuple[Any, ...]) -> bool:
        """One message of a worker; whether more will come."""
        with self._turn:
            job = self._jobs.get(job_id)
            if job is None or job.state != "running":
                return False
            match told:
                case ("progress", done, of, left, said):
                    self._jobs[job_id] = replace(job, done=done, of=of, seconds_left=left, said=said)
                    return True
                case ("failed", code, key, reason, zh):
                    self._failed(job_id, code, reason, key, zh)
                case (_, document, pages):
                    for language, text in pages.items():
                        _write(self.folder / f"{job_id}.{language}.html", text)
                    of = job.of or job.done
                    self._keep(replace(job, state="done", of=of, seconds_left=0.0, document=document))
                    self._trim()
                case _:
                    zh = "仿真进程返回了无法识别的内容。"
                    reason = "its process said something that nobody understands"
                    self._failed(job_id, "WORKER_DIED", reason, zh=zh)
        return False

    def _failed(self, job_id: str, code: str, reason: str, key: str = "", zh: str = "") -> None:
        with self._turn:
            job = self._jobs.get(job_id)
            if job is not None and job.state not in OVER:
                error = _reason(code, reason, key, zh)
                self._keep(replace(job, state="failed", seconds_left=None, error=error))

    # -- files -------------------------------------------------------------------------------------

    def _keep(self, job: Job) -> Job:
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / f"{job.id}.json", json.dumps(job.shown(), ensure_ascii=False))
        self._jobs[job.id] = job
        return job

    def _trim(self) -> None:
        for job in [job for job in self.jobs() if job.state in OVER][KEPT:]:
            self._forget(job.id)

    def _forget(self, job_id: str) -> None:
        del self._jobs[job_id]
        for name in (f"{job_id}.json", *(f"{job_id}.{language}.html" for language in LANGUAGES)):
            (self.folder / name).unlink(missing_ok=True)


def _reason(code: str, reason: str, key: str = "", zh: str = "") -> dict[str, str]:
    return {"code": code, "key": key, "reason": reason, "reason_zh": zh}


def _write(path: Path, text: str) -> None:
    """All or nothing: a reader never sees half a file."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
