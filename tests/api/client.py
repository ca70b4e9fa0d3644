"""A small client of the API server for tests: apply, delete, list, by kind. Used by the cases."""

import http.client
import json
import pathlib
import ssl
import urllib.parse
from collections.abc import Iterable
from typing import Any

from seta_crds import names
from seta_crds.names import Kind

JSON = dict[str, Any]
KINDS: dict[str, Kind] = {kind.kind: kind for kind in vars(names).values() if isinstance(kind, Kind)}
DEFAULT_NAMESPACE = "default"


class RefusedError(Exception):
    """The API server's sentence."""


class Client:
    def __init__(self, url: str, token: str, authority: pathlib.Path) -> None:
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=str(authority))
        self._connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: JSON | None = None, content: str = "application/json") -> JSON:
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {**self._headers, "Content-Type": content})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RefusedError(json.loads(text).get("message", text.decode()))
        found: JSON = json.loads(text)
        return found

    def apply(self, body: JSON, *, dry_run: bool = False) -> JSON:
        """Server-side apply, with unknown fields refused; the status too, where the kind has its own door for it."""
        kind = KINDS[body["kind"]]
        full = {"apiVersion": kind.api_version, **body}
        path = kind.path(self._namespace(kind, body), body["metadata"]["name"])
        query = "?fieldManager=test&force=true&fieldValidation=Strict"
        query += "&dryRun=All" if dry_run else ""
        answer = self.request("PATCH", path + query, full, "application/apply-patch+yaml")
        if "status" in body and kind in (names.POD, names.NODE):
            patch = {"status": body["status"]}
            answer = self.request("PATCH", f"{path}/status", patch, "application/merge-patch+json")
        return answer

    def delete(self, body: JSON) -> None:
        kind = KINDS[body["kind"]]
        path = kind.path(self._namespace(kind, body), body["metadata"]["name"])
        self.request("DELETE", f"{path}?gracePeriodSeconds=0")

    def get(self, kind: Kind, name: str, namespace: str = "") -> JSON:
        return self.request("GET", kind.path(namespace, name))

    def list(self, kind: Kind) -> list[JSON]:
        items: list[JSON] = self.request("GET", kind.path())["items"]
        return [{"kind": kind.kind, **item} for item in items]

    def wipe(self, kinds: Iterable[Kind]) -> None:
        """Delete every object of these kinds that a test may have made."""
        for kind in kinds:
            for body in self.list(kind):
                key = body["metadata"].get("namespace", ""), body["metadata"]["name"]
                if key not in KEPT:
                    self.delete({"kind": kind.kind, "metadata": body["metadata"]})

    @staticmethod
    def _namespace(kind: Kind, body: JSON) -> str:
        return body["metadata"].get("namespace", DEFAULT_NAMESPACE) if kind.namespaced else ""


KEPT = {(DEFAULT_NAMESPACE, "kubernetes")}  # the API server's own Service and EndpointSlice
