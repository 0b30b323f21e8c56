"""Makes services to try requests on, runs schemathesis, and deletes all that its requests have created."""

import json
import os
import subprocess
import sys
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


def user(app: str) -> str:
    return call("POST", "/auth", {"app": app, "key": KEY, "uid": "schemathesis"})["token"]


def backend(app: str) -> str:
    return call("POST", "/auth/app", {"app": app, "key": KEY})["token"]


def create(token: str) -> str:
    return call("POST", "/", {"preset": PRESET, "lifetimeMinutes": 60}, token)["id"]


def main() -> int:
    token = user(FUZZ)
    create(user(BULK))
    available = call("GET", f"/{create(token)}?wait=120", token=token)
    assert available["phase"] == "Available", available
    for name, value in (("app", FUZZ), ("key", KEY), ("id", available["id"])):
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
