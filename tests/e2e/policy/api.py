"""The API server without kubectl's start-up time: a situation's objects applied, deleted and read in milliseconds.

Used by `ground`. A policy that the API server refuses is a RefusedError with its sentence.
"""

import base64
import http.client
import json
import pathlib
import ssl
import tempfile
import urllib.parse
from typing import Any

import yaml

Manifest = dict[str, Any]
PATHS = {  # kind -> path of all its objects
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/pods",
    "ConfigMap": "/api/v1/configmaps",
    "Node": "/api/v1/nodes",
    "Service": "/api/v1/services",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "CiliumNetworkPolicy": "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "CiliumNode": "/apis/cilium.io/v2/ciliumnodes",
    "CiliumCIDRGroup": "/apis/cilium.io/v2/ciliumcidrgroups",
}
APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"


class RefusedError(Exception):
    """The API server's sentence. `status`: its HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class API:
    """One connection, as the kubeconfig's user."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_inline(server, "certificate-authority").decode())
        with tempfile.NamedTemporaryFile() as both:
            both.write(_inline(user, "client-certificate") + b"\n" + _inline(user, "client-key"))
            both.flush()
            context.load_cert_chain(both.name)
        url = urllib.parse.urlsplit(server["server"])
        self._connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def put(self, manifest: Manifest) -> None:
        """Made, or replaced by exactly this."""
        try:
            self._request("POST", _path(manifest).rpartition("/")[0], manifest)
        except RefusedError as error:
            if error.status != http.HTTPStatus.CONFLICT:
                raise
            self._replace(manifest)

    def _replace(self, manifest: Manifest) -> None:
        """Again where the operator wrote a condition in between."""
        for tries_left in reversed(range(5)):
            there = self.get(manifest)["metadata"]
            metadata = {**manifest["metadata"], "resourceVersion": there["resourceVersion"]}
            try:
                self._request("PUT", _path(manifest), {**manifest, "metadata": metadata})
            except RefusedError as error:
                if error.status != http.HTTPStatus.CONFLICT or not tries_left:
                    raise
            else:
                return

    def apply(self, manifest: Manifest) -> None:
        """By server-side apply."""
        self._request("PATCH", f"{_path(manifest)}?fieldManager=matrix&force=true", manifest, APPLY)

    def label(self, manifest: Manifest, labels: dict[str, str | None]) -> None:
        """None removes a label."""
        self._request("PATCH", _path(manifest), {"metadata": {"labels": labels}}, MERGE)

    def annotate(self, manifest: Manifest, annotations: dict[str, str | None]) -> None:
        """None removes an annotation."""
        self._request("PATCH", _path(manifest), {"metadata": {"annotations": annotations}}, MERGE)

    def merge(self, manifest: Manifest, change: Manifest) -> None:
        """A merge patch of the object."""
        self._request("PATCH", _path(manifest), change, MERGE)

    def delete(self, manifest: Manifest) -> None:
        """Also where it is gone already."""
        try:
            self._request("DELETE", _path(manifest))
        except RefusedError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise

    def get(self, manifest: Manifest) -> Manifest:
        return self._request("GET", _path(manifest))

    def list(self, kind: str) -> list[Manifest]:
        """Empty where nobody knows the kind."""
        try:
            return [{"kind": kind, **item} for item in self._request("GET", PATHS[kind])["items"]]
        except RefusedError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
            return []

    def _request(self, method: str, path: str, body: Manifest | None = None, content: str = JSON) -> Manifest:
        data = json.dumps(body) if body else None
        try:
            answer, text = self._exchange(method, path, data, content)
        except (ConnectionError, http.client.HTTPException):  # the server ends connections that were idle
            self._connection.close()
            answer, text = self._exchange(method, path, data, content)
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise RefusedError(answer.status, text.decode(errors="replace"))
        found: Manifest = json.loads(text)
        return found

    def _exchange(
        self, method: str, path: str, data: str | None, content: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, data, {"Content-Type": content, "Accept": JSON})
        answer = self._connection.getresponse()
        return answer, answer.read()


def _path(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    root, _, plural = PATHS[manifest["kind"]].rpartition("/")
    scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{scope}/{plural}/{metadata['name']}"


def _inline(section: dict[str, str], field: str) -> bytes:
    if f"{field}-data" in section:
        return base64.b64decode(section[f"{field}-data"])
    return pathlib.Path(section[field]).read_bytes()
