"""Makes services to try requests on, runs schemathesis, and deletes all that its requests have created."""

import base64
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

URL, KEY, PRESET = (os.environ[name] for name in ("API_URL", "KEY", "PRESET"))
FUZZ, BULK = os.environ["FUZZ_APP"], os.environ["BULK_APP"]
HERE = Path(__file__).parent


def call(method: str, path: str, body: object = None, token: str = "") -> dict:
    """What the API answers; anything but success is an exception."""
    request = urllib.request.Request(URL + path, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=150) as answer:
        return json.load(answer)


def signed(**claims: object) -> str:
    """A token (RFC 7519) for two hours: those of POST /auth live for five minutes, and a run may take longer."""

    def encoded(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    parts = ({"alg": "HS256", "typ": "JWT"}, claims | {"exp": int(time.time()) + 7200})
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    mac = hmac.digest(os.environ["JWT_SECRET"].encode(), text.encode(), "sha256")
    return f"{text}.{encoded(mac)}"


def user(app: str) -> str:
    return signed(sub=f"schemathesis.{app}")


def backend(app: str) -> str:
    return signed(sub=app, scope="app")


def available(token: str) -> str:
    """The id of a service that can be reached. On a busy machine it may be failing for a moment before."""
    id = create(token)
    until = time.monotonic() + 600
    while True:
        service = call("GET", f"/{id}?wait=60", token=token)
        if service["phase"] == "Available":
            return id
        if time.monotonic() > until:
            raise RuntimeError(f"{id} is not available: {service}")
        time.sleep(1)


def create(token: str) -> str:
    return call("POST", "/", {"preset": PRESET, "lifetimeMinutes": 60}, token)["id"]


def main() -> int:
    token = user(FUZZ)
    create(user(BULK))
    for name, value in (("app", FUZZ), ("key", KEY), ("id", available(token))):
        (HERE / f"{name}.txt").write_text(f'"{value}"\n')
    environment = os.environ | {"APP_TOKEN": backend(FUZZ), "BULK_TOKEN": backend(BULK)}
    program = [Path(sys.executable).with_name("schemathesis"), "--config-file", "schemathesis.toml"]
    arguments = ["openapi.json", "--url", URL, "--header", f"Authorization: Bearer {token}"]
    try:
        return subprocess.run([*program, "run", *arguments], cwd=HERE, env=environment).returncode
    finally:
        for app in (FUZZ, BULK):
            outcome = call("DELETE", "/?all=true", token=backend(app))
            assert outcome["failed"] == 0, outcome


sys.exit(main())
