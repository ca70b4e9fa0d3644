"""The agent's roles have what its code asks of the API server, and nothing else."""

from seta_agent import tables
from seta_agent.watch import sources
from seta_crds import names

OTHERWISE = {  # (API group, resource) -> verbs, where the agent does more than watch
    ("cilium.io", "ciliumendpoints"): {"get", "list", "create", "patch", "delete"},  # cep.py
    ("seta.dev", "selectorsets"): {"get"},  # cni/identity.py
    ("seta.dev", "nodepolicystatuses"): {"create", "patch"},  # what it enforces
    ("apps", "daemonsets"): {"get"},  # cni/install.py
}

FOR_L2 = {  # with l2announcements.enabled
    ("seta.dev", "nodeannouncements"): {"list", "watch"},  # watch/sources.py own_announcements
    ("coordination.k8s.io", "leases"): {"create", "patch"},  # l2/heartbeat.py
}


def granted(documents):
    """(API group, resource) -> verbs."""
    rights: dict[tuple[str, str], set[str]] = {}
    for document in documents:
        if document["kind"] in ("ClusterRole", "Role") and document["metadata"]["name"] == "seta":
            for rule in document["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        rights.setdefault((group, resource), set()).update(rule["verbs"])
    return rights


def used():
    kinds = {kind.path(): kind for kind in vars(names).values() if isinstance(kind, names.Kind)}
    rights = {key: set(verbs) for key, verbs in OTHERWISE.items()}
    for reflector in sources.reflectors(None, tables.Tables(), "node"):
        kind = kinds[reflector._source.path]
        rights.setdefault((kind.group, kind.plural), set()).update({"list", "watch"})
    return rights


def test_the_agent_may_do_what_it_does_and_nothing_else(render):
    assert granted(render()) == used()


def test_announcing_addresses_needs_a_heartbeat_and_nothing_else(render):
    assert granted(render("l2announcements.enabled=true")) == used() | FOR_L2
