"""cilium_metrics → the JSON of `seta bpf metrics list`, and the drops of `seta status`. Called by the kernel's answers.

In: the map as two arrays with the field names of the BTF, a value per CPU; and the words of the monitor.
"""

from typing import Any

import numpy as np

from seta_agent.api import values
from seta_agent.monitor.decode import Enums

Json = dict[str, Any]
Array = np.ndarray[Any, np.dtype[Any]]
NO_DROPS = {0: "Success", 64: "Event lost"}  # `enum metric_reason`, in the field's words


def metrics(keys: Array, entries: Array, names: Enums) -> list[Json]:
    """Packets and bytes by outcome, direction and, of drops, the line that decided."""
    found = [_metric(key, value, names) for key, value in zip(keys, values.summed(entries), strict=True)]
    return sorted(found, key=lambda item: tuple(item[name] for name in ("reason", "direction", "file", "line")))


def _metric(key: Any, value: Any, names: Enums) -> Json:
    reason, file = int(key["reason"]), int(key["file"])
    return {
        "reason": _reason(reason, names),
        "direction": names.directions.get(int(key["dir"]), "unknown"),
        "packets": int(value["count"]),
        "bytes": int(value["bytes"]),
        "line": int(key["line"]),
        "file": names.files.get(file, str(file)) if file else "",
    }


def drops(keys: Array, entries: Array, names: Enums) -> dict[str, int]:
    """Reason -> packets since the map was made, the most frequent first."""
    counts = values.summed(entries)["count"]
    numbers = [number for number in np.unique(keys["reason"]).tolist() if number not in NO_DROPS]
    found = {_reason(number, names): int(counts[keys["reason"] == number].sum()) for number in numbers}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _reason(number: int, names: Enums) -> str:
    return NO_DROPS.get(number) or names.reasons.get(number, str(number))
