"""Whether an image registry is reachable: one short attempt, made by `up` and by nobody else.

Any HTTP answer counts: a registry refuses an anonymous visitor with 401, and that is a registry.
"""

import urllib.error
import urllib.request

URL = "https://registry-1.docker.io/v2/"
TIMEOUT = 2.0  # seconds


def reachable(url: str = URL) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT):  # noqa: S310 - a constant, https
            return True
    except urllib.error.HTTPError as answer:
        return answer.code == 401
    except OSError:
        return False
