"""Shared places as the settings want them: which store, which keys, which caps."""

from __future__ import annotations

from dataclasses import dataclass

import platformdirs

from cloud.places.keys import ContributorKeys, FileKeys, KeyRing, RedisKeys
from cloud.places.recall import PlaceRecall
from cloud.places.redis import RedisPlaces, connect
from cloud.places.service import PlacesService
from cloud.places.sharing import SharedPlaces
from cloud.places.sqlite import SqlitePlaces
from cloud.places.store import Caps, PlaceStore
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import UsageError
from shared.events import EventLog
from shared.limits import MAX_CELL_READINGS


@dataclass(frozen=True, slots=True)
class OpenPlaces:
    """What the service hosts of places.

    Attributes:
        service: the RPCs; its `close` closes the store.
        recall: asked before a strip is read, told after.
    """

    service: PlacesService
    recall: PlaceRecall


def open_places(settings: CloudSettings, clock: Clock, events: EventLog) -> OpenPlaces | None:
    """The places that the settings ask for; None for none. Make it inside a running event loop.

    Raises:
        UsageError: the address of Redis is malformed.
    """
    if not settings.places:
        return None
    store: PlaceStore
    ring: KeyRing
    folder = settings.places_folder or platformdirs.user_data_path("wayword") / "places"
    if settings.places_redis is None:
        store = SqlitePlaces(folder / "places.sqlite3")
        ring = FileKeys(folder / "contributor-keys.json")
    else:
        try:
            client = connect(settings.places_redis.get_secret_value())
        except ValueError as error:
            raise UsageError(
                "places_redis is no address of a Redis", hint="write redis://HOST:PORT/0 or unix:///PATH"
            ) from error
        store = RedisPlaces(client, retention_days=settings.places_retention_days)
        ring = RedisKeys(client)
    places = SharedPlaces(
        store,
        ContributorKeys(ring, rotation_days=settings.places_key_days, retention_days=settings.places_retention_days),
        clock=clock,
        caps=Caps(device_a_day=settings.places_daily, cell=MAX_CELL_READINGS),
        retention_days=settings.places_retention_days,
        least_devices=settings.places_least_devices,
    )
    service = PlacesService(places, clock=clock, events=events, default_deadline_s=settings.default_deadline_s)
    return OpenPlaces(service, PlaceRecall(places, clock=clock))
