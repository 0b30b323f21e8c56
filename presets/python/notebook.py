"""A Jupyter notebook for one person: its token is derived from the seed and kept in the Secret.

Whoever has the seed computes the token again: HMAC-SHA256 of `token`, in hexadecimal digits. Another image
is set by `images.notebook` in the installation's values.
"""

import hashlib
import hmac
import json
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Issue, Refusal_Internal, Refusal_InvalidParameters

API_VERSION = "preset.ephemeron/v1"
SIZES = {"small": ("500m", "1Gi"), "large": ("2", "4Gi")}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "size": {
            "description": "Half a processor and 1 GiB, or two and 4 GiB.",
            "enum": list(SIZES),
            "default": "small",
        },
    },
}


class Template(exports.Template):
    def describe(self) -> str:
        return json.dumps(
            {
                "apiVersion": API_VERSION,
                "name": "notebook",
                "title": "A Jupyter notebook with a token of its own",
                "version": "0.1.0",
                "parameters": SCHEMA,
                "examples": [{}, {"size": "large"}],
                "uses": ["seed", "values"],
            }
        )

    def render(self, parameters: str, context: str) -> str:
        try:
            return json.dumps(rendered(read(parameters), json.loads(context)))
        except Err:
            raise
        except Exception:
            # It would be a trap otherwise, of which nobody learns why.
            raise Err(Refusal_Internal(traceback.format_exc())) from None


def read(text: str) -> str:
    """The size that the parameters ask for; all that is wrong with them is raised at once."""
    try:
        parameters = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(Issue("", "not-json", f"this is not JSON: {error}")) from None
    if not isinstance(parameters, dict):
        raise invalid(Issue("", "wrong-type", "the parameters must be an object"))
    faults = [
        Issue(f"/{escaped(name)}", "unknown", "there is no such parameter; there is size")
        for name in sorted(parameters)
        if name != "size"
    ]
    size = parameters.get("size", "small")
    if not isinstance(size, str) or size not in SIZES:
        faults.append(Issue("/size", "not-allowed", f"it must be one of {', '.join(SIZES)}"))
    if faults:
        raise invalid(*faults)
    return size


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def invalid(*issues: Issue) -> Err:
    return Err(Refusal_InvalidParameters(list(issues[:32])))


def rendered(size: str, context: dict) -> dict:
    token = hmac.new(bytes.fromhex(context["seed"]), b"token", hashlib.sha256).hexdigest()
    cpu, memory = SIZES[size]
    images = context.get("values", {}).get("images", {})
    container = {
        "name": "service",
        "image": images.get("notebook", "quay.io/jupyter/minimal-notebook:latest"),
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {
                "name": "JUPYTER_TOKEN",
                "valueFrom": {"secretKeyRef": {"name": "ephemeron-secrets", "key": "token"}},
            }
        ],
        "ports": [{"containerPort": 8888}],
        "readinessProbe": {"httpGet": {"path": "/api", "port": 8888}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": cpu, "memory": memory},
        },
    }
    return {
        "apiVersion": API_VERSION,
        "port": 8888,
        "template": {"spec": {"containers": [container]}},
        "secrets": {"token": token},
        "warnings": ["the notebook asks for its token; it is in the Secret under the name token"],
    }
