"""The cloud service, composed: what a call can reach, in the order it is built, served and put away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from cloud.announcing import announce
from cloud.calls import Call
from cloud.endpoint.hosting import open_endpoint
from cloud.experiments.arms_told import ToldArms
from cloud.experiments.opening import ArmCollector, experiment_services, open_experiments
from cloud.front.metrics import CloudMetrics
from cloud.front.stack import front
from cloud.hosting import HostedService
from cloud.packs.service import packs_services
from cloud.places.loading import open_places
from cloud.plans import ReadPlan
from cloud.reading.improving import Improver
from cloud.reading.loading import LoadedModels, load_models
from cloud.reading.observing import ReadObserver, all_of
from cloud.reading.service import PlaceMemory, ReaderService
from cloud.reading.threads import leave_what_is_loaded, put_event_loop_first
from cloud.rest.hosting import start_rest
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.events import EventLog
from shared.models.calibration import Calibration


async def serve(
    settings: CloudSettings,
    clock: Clock,
    stop: asyncio.Future[int],
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Serve until `stop` has a result, then drain, and return it.

    Args:
        settings: of the service.
        clock: of every wait and deadline.
        stop: gets the exit code when it is time to end.
        say: told in one line where the service is.
        warn: told in one line of what goes wrong without ending it.

    Raises:
        WaywordError: it cannot start.
    """
    put_event_loop_first()
    async with AsyncExitStack() as stack:
        events = EventLog(
            settings.events,
            tier="cloud",
            clock=clock,
            on_loss=lambda problem: warn(f"{problem}; going on without it"),
        )
        stack.callback(events.close)
        fronted = await stack.enter_async_context(front(settings, clock, events=events, warn=warn))
        experiments = open_experiments(settings, clock, events=events, warn=warn)
        fronted.metrics.collect(ArmCollector(experiments))
        outside = open_endpoint(settings, clock, fronted.metrics, on_spent=experiments.spent)
        stack.push_async_callback(outside.close)
        models = await _models(settings, clock, events, stop)
        if models is None:
            return stop.result()
        stack.callback(models.recogniser.close)
        shared = open_places(settings, clock, events)
        places: PlaceMemory | None = None if shared is None else shared.recall
        observers: list[ReadObserver] = [experiments.observe]
        reader_service = make_reader_service(
            models,
            settings,
            clock,
            events,
            plan_for=experiments.plan_for,
            places=places,
            on_read=all_of(observers),
            endpoint=outside.use,
        )
        _watch(fronted.metrics, reader_service, models)
        services: list[HostedService] = [reader_service, *packs_services(settings, clock, events=events)]
        if shared is not None:
            services.append(shared.service)
        services += experiment_services(settings, clock, events=events, experiments=experiments)
        server = CloudServer(services, settings, interceptors=(*fronted.interceptors, ToldArms()))
        rest = await start_rest(settings, reader_service, fronted, clock, say=say, warn=warn)
        stack.push_async_callback(rest.drain)
        host, port = await server.start()
        try:
            announce(settings.port_file, host, port, say)
            if fronted.metrics_address is not None:
                say(f"metrics on http://{fronted.metrics_address}/metrics")
            if models.second_engine:
                say(models.second_engine)
            events.write("serving", port=port, workers=settings.workers)
            code = await stop
            events.write("draining")
        finally:
            await asyncio.gather(rest.drain(), server.drain())
            if settings.port_file is not None:
                settings.port_file.unlink(missing_ok=True)
        events.write("stopped")
        return code


async def _models(
    settings: CloudSettings, clock: Clock, events: EventLog, stop: asyncio.Future[int]
) -> LoadedModels | None:
    """The models, loaded and warm; None when the service was stopped meanwhile."""
    loading = asyncio.create_task(
        asyncio.to_thread(load_models, settings, clock=clock, on_engine_failure=_failures(events))
    )
    await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        return None
    models = await loading
    leave_what_is_loaded()
    events.write("loaded", seconds_per_line=models.seconds_per_line, on_gpu=models.recogniser.on_gpu)
    return models


def _watch(metrics: CloudMetrics, reader_service: ReaderService, models: LoadedModels) -> None:
    """How full the service is, for Prometheus."""
    batcher = models.recogniser.batcher
    metrics.gauge("wayword_waiting_calls", "Calls that wait for a worker.", lambda: reader_service.waiting)
    metrics.gauge("wayword_waiting_lines", "Lines that wait for a recogniser.", lambda: batcher.waiting)
    metrics.gauge(
        "wayword_batch_lines",
        "Mean lines of the last 1024 batches.",
        lambda: sum(batcher.batches.copy()) / max(len(batcher.batches), 1),
    )


def _failures(events: EventLog) -> Callable[[str], None]:
    """Writes down that the second engine failed; its lines are answered without it."""
    return lambda reason: events.write("second_engine_failed", reason=reason)


def make_reader_service(
    models: LoadedModels,
    settings: CloudSettings,
    clock: Clock,
    events: EventLog,
    *,
    plan_for: Callable[[Call], ReadPlan] | None,
    places: PlaceMemory | None,
    on_read: ReadObserver,
    endpoint: Improver | None = None,
) -> ReaderService:
    """The reader's service over loaded models.

    Args:
        models: closed by whoever loaded them.
        settings: bounds.
        clock: of every wait and deadline.
        events: gets one event per read.
        plan_for: how a call is to be read; None for the default.
        places: memory of what others read; None for none.
        on_read: told of every read.
        endpoint: external model; None for none.
    """
    readers = models.readers
    return ReaderService(
        readers,
        translators=[reader.translate for reader in readers],
        seconds_per_line=models.seconds_per_line,
        targets=readers[0].targets if endpoint is None else readers[0].targets | frozenset(settings.endpoint_targets),
        recognition_pack=readers[0].recognition_pack,
        calibration=Calibration.builtin(),
        settings=settings,
        clock=clock,
        events=events,
        plan_for=plan_for,
        places=places,
        on_read=on_read,
        endpoint=endpoint,
    )
