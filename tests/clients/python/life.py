"""The whole life of a service, with the client of openapi-python-client."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import TypeVar

import httpx
import httpx_sse
from ephemeron_client import AuthenticatedClient, Client
from ephemeron_client.api.auth import login, login_app
from ephemeron_client.api.backend import delete_services
from ephemeron_client.api.presets import list_presets
from ephemeron_client.api.services import (
    create_service,
    delete_service,
    extend_service,
    list_services,
    read_service,
)
from ephemeron_client.models import (
    AppLogin,
    CreatedService,
    End,
    Error,
    Event,
    Kind,
    Login,
    NewEnd,
    NewService,
    NewServiceParametersType0,
    Outcome,
    Page,
    Phase,
    PresetList,
    Service,
    Token,
)

URL, APP, KEY, PRESET = (os.environ[name] for name in ("API_URL", "APP", "KEY", "PRESET"))
# Longer than any `wait`.
TIMEOUT = httpx.Timeout(150)

T = TypeVar("T")


def ok(answer: object, expected: type[T]) -> T:
    """The answer, or an exception with what the API says against it."""
    if isinstance(answer, Error):
        raise RuntimeError(f"{answer.message} ({answer.request_id})")
    assert isinstance(answer, expected), answer
    return answer


def with_token(token: Token) -> AuthenticatedClient:
    """A token lives for five minutes: a backend gets one for each user, when that user needs something."""
    return AuthenticatedClient(base_url=URL, token=token.token, timeout=TIMEOUT)


def events(client: AuthenticatedClient, id: str) -> Iterator[Event]:
    """The events of a service as they come in. The generated function would wait for the end of them all."""
    with httpx_sse.connect_sse(client.get_httpx_client(), "GET", f"/{id}/events") as stream:
        stream.response.raise_for_status()
        for event in stream.iter_sse():
            yield Event.from_dict(json.loads(event.data))


def open_service(service: Service) -> str:
    """Its page. Names below `localhost` have no DNS: elsewhere this is httpx.get(service.url)."""
    answer = httpx.get(os.environ["GATEWAY"], headers={"Host": service.host}, timeout=TIMEOUT)
    return answer.raise_for_status().text


def main() -> None:
    anonymous = Client(base_url=URL, timeout=TIMEOUT)
    uid = f"python-{uuid.uuid4()}"[:40]

    # Who calls: a backend, for one of its users.
    api = with_token(ok(login.sync(client=anonymous, body=Login(app=APP, key=KEY, uid=uid)), Token))

    # What there is.
    presets = ok(list_presets.sync(client=api), PresetList).presets
    assert PRESET in [preset.name for preset in presets], presets

    # Create. Sent again with the same key, it is the same service.
    wanted = NewService(preset=PRESET, lifetime_minutes=10)
    key = str(uuid.uuid4())
    created = ok(create_service.sync(client=api, body=wanted, idempotency_key=key), CreatedService)
    again = ok(create_service.sync(client=api, body=wanted, idempotency_key=key), CreatedService)
    assert again.id == created.id

    # What the preset does not take is told by name.
    colour = NewServiceParametersType0.from_dict({"colour": "red"})
    refused = create_service.sync_detailed(
        client=api, body=NewService(preset=PRESET, lifetime_minutes=10, parameters=colour)
    )
    assert refused.status_code == 422
    assert isinstance(refused.parsed, Error) and refused.parsed.faults
    assert refused.parsed.faults[0].pointer == "/colour"

    # Wait until it is available, and open it. An answer comes also when something is in the way: `phase` says so.
    patience = time.monotonic() + 200
    service = ok(read_service.sync(created.id, client=api, wait=60), Service)
    while service.phase != Phase.AVAILABLE:
        assert time.monotonic() < patience, f"{service.phase}: {service.reason}: {service.message}"
        time.sleep(1)
        service = ok(read_service.sync(created.id, client=api, wait=60), Service)
    assert "Welcome to nginx!" in open_service(service)

    # It lives longer.
    end = ok(extend_service.sync(created.id, client=api, body=NewEnd(lifetime_minutes=60)), End)
    assert end.expiration_time > created.expiration_time
    services = ok(list_services.sync(client=api), Page).services
    assert [(one.id, one.expiration_time) for one in services] == [(created.id, end.expiration_time)]

    # Follow it to its end. The stream begins with the service as it is.
    kinds: list[Kind] = []
    for event in events(api, created.id):
        if not kinds:
            assert isinstance(event.service, Service) and event.service.id == created.id
            assert delete_service.sync_detailed(created.id, client=api).status_code == 204
        kinds.append(event.kind)
    assert kinds[0] == Kind.SERVICE and kinds[-1] == Kind.GONE, kinds

    # Nothing is left of it.
    missing = read_service.sync_detailed(created.id, client=api)
    assert missing.status_code == 404
    assert isinstance(missing.parsed, Error) and created.id in missing.parsed.message

    # The backend itself sees the services of all its users, and can delete many at once.
    second = ok(create_service.sync(client=api, body=wanted), CreatedService)
    backend = with_token(ok(login_app.sync(client=anonymous, body=AppLogin(app=APP, key=KEY)), Token))
    listed = ok(list_services.sync(client=backend, user=uid), Page).services
    assert [(one.id, one.user) for one in listed] == [(second.id, f"{uid}.{APP}")]
    outcome = ok(delete_services.sync(client=backend, user=uid), Outcome)
    assert (outcome.matched, outcome.done, outcome.failed) == (1, 1, 0), outcome
    assert ok(list_services.sync(client=backend, user=uid), Page).services == []

    print(f"python: {created.id} has lived, from its creation to its end")


main()
