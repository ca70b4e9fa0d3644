/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A backend's answer gets the address back that its client asked for. Called by the gate
 * that finds the answer's connection (gate.h), and for what has no gate here: backends
 * on other nodes (from_netdev, from_overlay) and the node's own (to_netdev).
 */
#ifndef SETA_SERVICE_BACK_H
#define SETA_SERVICE_BACK_H

#include "common.h"
#include "conntrack.h"
#include "lb.h"
#include "nat_port.h"
#include "nat_rewrite.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_SERVICE_BACK_H

/* Key of the frontend that no index names: the answer's own tuple. */
INLINE void front_key(union ct_key *key, const struct tuple *t)
{
	ct_key_forward(key, t, FAMILY_V4, NAT_FRONT);
}

/* The frontend of the connection that `key` is the answer of, for service_back(). The
 * LRU may have taken it, so each packet of the client looks.
 */
COLD int front_remember(const union ct_key *key, __be32 addr, __be16 port, __be16 rev_nat_index)
{
	struct nat4_entry *known = bpf_map_lookup_elem(&cilium_snat_v4_external, &key->v4);
	struct nat4_entry front = { bpf_ktime_get_ns(), addr, port, rev_nat_index };

	if (!known || !nat_same_owner(known, &front))
		bpf_map_update_elem(&cilium_snat_v4_external, &key->v4, &front, BPF_ANY);
	return 0;
}

INLINE bool front_of_answer(const struct pkt *p, const struct tuple *t, struct lb4_reverse_nat *front)
{
	struct lb4_reverse_nat *named;
	struct nat4_entry *entry;
	union ct_key key = {};

	if (p->ct_flags & CT_FRONT_IN_NAT) {
		front_key(&key, t);
		entry = bpf_map_lookup_elem(&cilium_snat_v4_external, &key.v4);
		if (!entry)
			return false;
		front->address = entry->to_addr;
		front->port = entry->to_port;
		return true;
	}
	named = lb4_reverse(p->answer_of);
	if (!named)
		return false;
	*front = *named;
	return true;
}

/* The client's connection to the frontend lives from its answers, too. */
INLINE void service_touch(struct pkt *p)
{
	bool tcp = p->t.proto == IPPROTO_TCP;
	struct ct_entry *entry;
	union ct_key key = {};

	ct_key_reverse(&key, &p->t, FAMILY_V4, CT_TUPLE_SERVICE);
	entry = ct_find(&key, FAMILY_V4, tcp);
	if (ct_is_alive(entry, p->now))
		ct_touch(entry, p, tcp, true);
}

/* Stage: p->answer_of's address becomes the source, also in an ICMP error about one of
 * the client's packets.
 */
COLD int service_back(struct pkt *p)
{
	struct lb4_reverse_nat front = {};

	if (!front_of_answer(p, p->is_error ? &p->inner : &p->t, &front))
		return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	TRY(nat_rewrite_source(p, front.address, front.port));
	if (!p->now)
		p->now = ct_now();
	if (!p->is_error)
		service_touch(p);
	return 0;
}

#endif
