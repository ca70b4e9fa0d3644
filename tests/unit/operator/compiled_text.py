"""Compiled policies in a form that people can write down: sets as their texts, entries as lines. Used by the tests."""

from typing import Any

from seta_operator.services.compiled import Compiled


def readable(compiled: Compiled) -> list[dict[str, Any]]:
    """Each rule: subject, and by direction its lines; the direction is called ingressOpen where it does not close."""
    text = {name: spec.text for name, spec in compiled.specs.items()}
    found = []
    for rule in compiled.rules:
        lines = {
            direction + ("" if rule[direction]["defaultDeny"] else "Open"): [
                _line(one, text) for one in rule[direction]["entries"]
            ]
            for direction in ("ingress", "egress")
            if direction in rule
        }
        subject = {"subject": text[rule["subject"]]} if "subject" in rule else {"nodes": rule["nodes"]}
        found.append({**subject, **lines})
    return found


def _line(entry: dict[str, Any], text: dict[str, str]) -> str:
    peers = "any peer"
    if "peers" in entry:
        peers = " + ".join(sorted(text[name] for name in entry["peers"])) or "nobody"
    ports = "all traffic"
    if "ports" in entry:
        ports = " + ".join(_port(port) for port in entry["ports"]) or "no traffic"
    action = entry["action"] + (" (yields)" if entry.get("yields") else "")
    return f"{action} {entry['origin']}: {peers}, {ports}"


def _port(port: dict[str, Any]) -> str:
    number = port.get("name", port.get("port", ""))
    last = f"-{port['endPort']}" if "endPort" in port else ""
    return f"{port['protocol']} {number}{last}".rstrip()
