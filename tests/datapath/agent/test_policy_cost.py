"""What a change costs in the kernel: entries that are not concerned are not touched, as their counters show."""

from seta_agent.tables import Policy, PolicyDirection, PolicyEntry, PolicyRule, PortMatch, SelectorSet
from tests.datapath.agent.conftest import on_a_node


def set_selector(lab, name, *identities):
    lab.tables.selector_sets.set(name, SelectorSet(name, name, frozenset(identities)))


def set_policy(lab, name, *peers, port=80):
    entry = PolicyEntry("spec", deny=False, peers=peers, ports=(PortMatch("UDP", port),))
    rule = PolicyRule("ss-subject", PolicyDirection(default_deny=True, entries=(entry,)), None)
    lab.tables.policies.set(name, Policy(name, name, 1, (rule,)))


def rows(lab):
    """(identity, port) -> packets that the entry let through."""
    keys, values = lab.agent.dump_map("cilium_policy_v2_00007")
    return {
        (int(key["sec_label"]), int(key["dport"])): int(value["packets"])
        for key, value in zip(keys, values, strict=True)
    }


async def written(lab, change):
    """How many entries the programmer wrote and deleted for a change."""
    moved = []
    inner = lab.agent._setup.policy_maps._inner[7].map
    for name in ("update", "delete"):
        method = getattr(inner, name)

        def counted(keys, *values, method=method):
            moved.append(len(keys))
            return method(keys, *values)

        setattr(inner, name, counted)
    change()
    await lab.applied()
    del inner.update, inner.delete
    return sum(moved)


async def server(lab):
    await lab.start()
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-a", 300, *range(1000, 1050))
    set_selector(lab, "ss-b", *range(2000, 2050))
    set_policy(lab, "cnp.ns.a", "ss-a")
    set_policy(lab, "cnp.ns.b", "ss-b", port=81)
    client, found = await lab.add_pod(5, 300), await lab.add_pod(7, 400)
    await lab.applied()
    assert await lab.reaches(client, found)
    return found


@on_a_node
async def test_a_new_identity_writes_the_entries_of_its_sets_only(lab):
    await server(lab)
    before = rows(lab)
    assert before[300, 80] == 1
    assert await written(lab, lambda: set_selector(lab, "ss-b", 2100, *range(2000, 2050))) == 1
    assert rows(lab) == before | {(2100, 81): 0}


@on_a_node
async def test_a_new_policy_writes_its_own_entries_only(lab):
    await server(lab)
    before = rows(lab)
    assert await written(lab, lambda: set_policy(lab, "cnp.ns.c", "ss-b", port=82)) == 50
    assert rows(lab).items() >= before.items()
    assert await written(lab, lambda: lab.tables.policies.delete("cnp.ns.c")) == 50
    assert rows(lab) == before


@on_a_node
async def test_a_policy_for_others_writes_nothing(lab):
    await server(lab)
    set_selector(lab, "ss-nobody-here", 999)
    rule = PolicyRule("ss-nobody-here", PolicyDirection(default_deny=True, entries=()), None)
    row = Policy("cnp.ns.d", "d", 1, (rule,))
    assert await written(lab, lambda: lab.tables.policies.set("cnp.ns.d", row)) == 0


@on_a_node
async def test_250_policies_are_one_or_two_passes(lab):
    await server(lab)
    for number in range(250):
        set_selector(lab, f"ss-{number}", *range(3000 + number, 3010 + number))
    passes = lab.agent.status()["passes"]
    for number in range(250):
        set_policy(lab, f"cnp.ns.many-{number}", f"ss-{number}", port=1000 + number)
    await lab.until(lambda: len(lab.agent.enforced()) == 252)
    assert lab.agent.status()["passes"] - passes <= 3
    assert len(rows(lab)) == 52 + 51 + 250 * 10 - 1
