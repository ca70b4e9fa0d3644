"""Which rights an agent has with which value; that it uses each is for the end-to-end tests to show."""

from tests import rights

FOR_L2 = {  # announcing addresses
    ("list", "seta.dev", "nodeannouncements"),
    ("watch", "seta.dev", "nodeannouncements"),
    ("create", "coordination.k8s.io", "leases"),
    ("patch", "coordination.k8s.io", "leases"),
}


def granted(documents):
    roles = [one for one in documents if one["kind"] in ("ClusterRole", "Role") and one["metadata"]["name"] == "seta"]
    assert len(roles) == 2
    return rights.granted(roles)


def test_announcing_addresses_needs_a_heartbeat_and_what_to_announce(render):
    without = granted(render())
    assert not without & FOR_L2
    assert granted(render("l2announcements.enabled=true")) == without | FOR_L2
