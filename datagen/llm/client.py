"""Many questions to an OpenAI-compatible server at once: every request ends in exactly one outcome.

    async with Client(endpoint, journal) as client:
        async for request, outcome in client.run(requests):
            ...

or, inside a stage, ``for request, outcome in complete(endpoint, requests, journal)``. Outcomes come as they are ready,
in no order. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from datagen.errors import EnvironmentFault, RunError
from datagen.llm.answers import Failure, Outcome, Reply, read
from datagen.llm.endpoint import Endpoint, base
from datagen.llm.flow import Flow
from datagen.llm.journal import Journal
from datagen.llm.limits import Budget, BudgetSpent, Meter
from datagen.llm.replicas import Replica, Replicas
from datagen.llm.request import Request
from datagen.llm.retry import Setback, backoff, one_token, understood
from datagen.llm.schema import Shapes
from datagen.llm.wire import Wire

Pair = tuple[Request, Outcome]
#: Looks at an outcome and says what to ask instead: the next attempt, or None when the caller takes the outcome.
Follow = Callable[[Request, Outcome], Request | None]

#: Seconds between two looks at whether there is still hope while no slot is free.
LOOK_S = 1.0
#: Seconds in which outcomes gather before they are handed over: the loop and the journal then turn for many at once.
GATHER_S = 0.005
#: Seconds between two looks at where the replicas are.
REFRESH_S = 2.0
#: Longest wait between two probes of a dead replica, and longest probe, in seconds.
PROBE_S = 30.0


class ServersGone(EnvironmentFault):
    """No replica has answered for ``gone_s``: no row is to blame."""


class Client:
    """Asks ``endpoint``'s replicas, least loaded first, ``in_flight`` at once each, from one event loop.

    ``follow`` turns an outcome into the next attempt, at once and in its place; the last one is handed over.
    ``stopped`` is asked before each request; when it says True, what is under way is finished and ``run`` ends.
    ``sleep`` is what waits between tries. ``urls`` says which replicas there are now, where that may change: new ones
    join, those that have left are asked no more.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        journal: Journal | None = None,
        budget: Budget | None = None,
        *,
        follow: Follow = lambda request, outcome: None,
        meter: Meter | None = None,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        urls: Callable[[], tuple[str, ...]] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.replicas = Replicas(endpoint.urls, endpoint.in_flight)
        self.meter = meter or Meter()
        self._journal, self._budget, self._follow = journal, budget, follow
        self._stopped, self._sleep, self._urls = stopped, sleep, urls
        self._wire = Wire(endpoint)
        self._shapes = Shapes()
        self._probes: set[asyncio.Task[None]] = set()  #: and what looks where the replicas are
        self._open = False
        self._ending: RunError | None = None
        self._sign_of_life = 0.0
        self._last = ""  #: what went wrong last

    async def __aenter__(self) -> Self:
        await self._wire.open()
        self._sign_of_life = time.monotonic()
        if self._budget:
            self._budget.start()
        self._open = True
        if self._urls is not None:
            self._probes.add(asyncio.create_task(self._look_where(self._urls)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._budget and self._open:
            self._budget.stop()
        self._open = False
        await _cancelled(self._probes)
        await self._wire.close()

    async def run(self, requests: Iterable[Request]) -> AsyncIterator[Pair]:
        """Pairs as they are ready. ``requests`` is read as slots become free: no further ahead.

        Raises:
            BudgetSpent, ServersGone: after everything that has an outcome was handed over.
        """
        batches = self.batches(requests)
        try:
            async for pairs in batches:
                for pair in pairs:
                    yield pair
        finally:
            await batches.aclose()

    async def batches(self, requests: Iterable[Request]) -> AsyncGenerator[list[Pair]]:
        """As ``run``: all that is ready at once."""
        flow: Flow[Request, Pair] = Flow(iter(requests), most=4 * self.endpoint.in_flight * len(self.replicas.all))
        workers: set[asyncio.Task[None]] = set()
        running: set[asyncio.Task[None]] = set()

        def over(worker: asyncio.Task[None]) -> None:
            running.discard(worker)
            flow.news.set()

        def enough() -> None:
            """As many as there are slots: replicas may join."""
            for _ in range(self.endpoint.in_flight * len(self.replicas.all) - len(workers)):
                worker = asyncio.create_task(self._work(flow))
                workers.add(worker)
                running.add(worker)
                worker.add_done_callback(over)

        enough()
        try:
            while running:
                await flow.news.wait()  # workers have deadlines, and the end of one is news too
                if running:
                    await asyncio.sleep(GATHER_S)
                broken = next((error for worker in workers - running if (error := worker.exception())), None)
                if ready := self._kept(flow):
                    yield ready
                if broken:
                    raise broken
                if running:
                    enough()
            if ready := self._kept(flow):
                yield ready
        finally:
            await _cancelled(workers)
            if self._journal is not None:
                self._journal.flush()
        if self._ending:
            raise self._ending

    def _kept(self, flow: Flow[Request, Pair]) -> list[Pair]:
        """What is ready, once the journal has it."""
        if self._journal is not None:
            self._journal.flush()
        return flow.taken()

    async def _work(self, flow: Flow[Request, Pair]) -> None:
        """One of many that take requests and see each of them through."""
        while self._ending is None and not self._stopped():
            request = flow.next()
            if request is None:
                return
            try:
                outcome = await self._outcome(request)
                while (instead := self._follow(request, outcome)) is not None:
                    request = instead
                    outcome = await self._outcome(request)
            except (BudgetSpent, ServersGone) as ending:
                self._ending = ending
                return
            await flow.put((request, outcome))

    async def _outcome(self, request: Request) -> Outcome:
        """Of the journal, or of asking."""
        outcome = self._remembered(request)
        if outcome is None:
            if self._budget and (why := self._budget.spent()):
                raise BudgetSpent(f"{why}. Raise the cap and run the same command again: finished calls are kept.")
            outcome = await self._ask(request)
        if self._budget:
            self._budget.charge(outcome)
        self.meter.count(outcome)
        return outcome

    def _remembered(self, request: Request) -> Outcome | None:
        reply = self._journal.get(request.key) if self._journal is not None else None
        return read(request, reply, self._shapes, replayed=True) if reply else None

    async def _ask(self, request: Request) -> Outcome:
        """Try until there is an outcome: a slot for each try, none while waiting between tries."""
        tries = 0
        failed = Setback("DeadlinePassed", "no server had time", again=False)
        replica = await self._slot(None, float("inf"))
        deadline = time.monotonic() + self.endpoint.deadline_s  # waiting for the first slot is nobody's delay
        while replica is not None:
            tries += 1
            found = await self._try(request, replica, deadline, tries)
            if isinstance(found, Reply):
                if self._journal is not None:
                    self._journal.add(request.key, found, hold=True)
                return read(request, found, self._shapes)
            failed = found
            if not failed.again:
                return Failure(failed.error_class, failed.message, failed.blame, tries=tries)
            luck = random.Random(f"{request.key} {tries}")
            wait = backoff(tries, self.endpoint.backoff_s, self.endpoint.backoff_most_s, luck)
            if failed.wait_s > 0:  # never earlier than the server asks for, and not all at that very moment
                wait = failed.wait_s * luck.uniform(1.0, 1.2)
            if tries >= self.endpoint.tries or time.monotonic() + wait >= deadline:
                break
            await self._sleep(wait)
            replica = await self._slot(replica, deadline)
        message = f"{failed.message} (given up after {tries} tries)"
        return Failure(failed.error_class, message, failed.blame, tries=tries)

    async def _slot(self, avoid: Replica | None, deadline: float) -> Replica | None:
        """A slot of a replica; None if there was none before ``deadline``."""
        while (replica := self.replicas.take(avoid)) is None:
            now = time.monotonic()
            if isinstance(self._ending, ServersGone):
                raise self._ending
            if now >= deadline:
                return None
            if not self.replicas.alive and now - self._sign_of_life >= self.endpoint.gone_s:
                raise ServersGone(
                    f"none of {len(self.replicas.all)} servers has answered for {self.endpoint.gone_s:g} s. "
                    f"Last: {self._last or 'nobody came'}. Start them and run the "
                    "same command again: finished calls are kept."
                )
            await self.replicas.wait(min(LOOK_S, self.endpoint.gone_s, deadline - now))
        return replica

    async def _try(self, request: Request, replica: Replica, deadline: float, tries: int) -> Reply | Setback:
        """One HTTP request; the replica's slot is given back, and what it did is remembered."""
        era, start = replica.era, time.monotonic()
        try:
            said = await self._wire.post(replica.url, request.body, deadline - start)
            found = understood(said, time.monotonic() - start, tries)
            if isinstance(found, Setback):
                self._last = f"{found.error_class}: {found.message}"
            if isinstance(found, Reply):
                self._sign_of_life = time.monotonic()
                replica.answered()
            elif found.overloaded:
                self._sign_of_life = time.monotonic()
                replica.overloaded(era)
            elif found.unwell and replica.missed(nobody_there=found.nobody_there):
                probe = asyncio.create_task(self._look_again(replica, request.model))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)
        finally:
            self.replicas.give(replica)
        return found

    async def _look_again(self, replica: Replica, model: str) -> None:
        """Ask a dead replica for one token, less and less often, until it gives one: health routes lie."""
        luck, wait = random.Random(replica.url), max(self.endpoint.backoff_s, 0.01)
        body = one_token(model)
        while replica in self.replicas.all:
            await asyncio.sleep(luck.uniform(0.5, 1.0) * wait)
            said = await self._wire.post(replica.url, body, min(PROBE_S, self.endpoint.timeout_s))
            if isinstance(understood(said, 0.0, 1), Reply):
                self._sign_of_life = time.monotonic()
                replica.back()
                self.replicas.wake()
                return
            wait = min(PROBE_S, 2 * wait)

    async def _look_where(self, urls: Callable[[], tuple[str, ...]]) -> None:
        """Now and then, until it is cancelled."""
        while self._ending is None:
            await asyncio.sleep(REFRESH_S)
            try:
                found = await asyncio.to_thread(urls)  # it may look into a store that is far away
            except RunError as error:  # there will never be one again
                self._ending = ServersGone(str(error))
            except Exception:  # a store's bad moment, of whatever kind: the next look is soon
                continue
            else:
                self.replicas.update([base(url) for url in found])


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until they are gone, ten seconds at most. What else they raised was told by the first."""
    tasks = set(tasks)
    left = {task for task in tasks if not task.done()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=10.0)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # or the loop prints each of them with its traceback


def complete(
    endpoint: Endpoint,
    requests: Iterable[Request],
    journal: Journal | None = None,
    budget: Budget | None = None,
    *,
    follow: Follow = lambda request, outcome: None,
    meter: Meter | None = None,
    stopped: Callable[[], bool] = lambda: False,
    urls: Callable[[], tuple[str, ...]] | None = None,
) -> Iterator[Pair]:
    """``Client.run`` for code that is not async, in an event loop of its own in this thread.

    Nothing moves while the caller works on a pair: keep that short against ``timeout_s``. Raises what ``run`` raises.
    """
    loop = asyncio.new_event_loop()
    client = Client(endpoint, journal, budget, follow=follow, meter=meter, stopped=stopped, urls=urls)
    batches = client.batches(requests)
    step: asyncio.Task[list[Pair] | None] | None = None
    try:
        loop.run_until_complete(client.__aenter__())
        while True:
            step = loop.create_task(_next(batches))
            if (pairs := loop.run_until_complete(step)) is None:
                return
            yield from pairs
    finally:
        if step is not None and not step.done():  # an interrupt, or a signal handler that raised
            loop.run_until_complete(_cancelled([step]))
        loop.run_until_complete(batches.aclose())
        loop.run_until_complete(client.__aexit__(None, None, None))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _next(batches: AsyncIterator[list[Pair]]) -> list[Pair] | None:
    return await anext(batches, None)
