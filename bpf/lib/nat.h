/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: a pod's packets leave with the node's address on that device (to_netdev),
 * and answers to that find their pod again (from_netdev); so do answers to a service's
 * clients, which went to the backend with the node's address, too (also from_overlay).
 * The ports are nat_port.h's, the rewriting is nat_rewrite.h's.
 */
#ifndef SETA_NAT_H
#define SETA_NAT_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "nat_port.h"
#include "nat_rewrite.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_NAT_H

struct masquerade_key {
	__u32 ifindex;
	__u8 family;
	__u8 pad[3];
};

struct masquerade_entry {
	union ip16 ip;
};

/* Of native devices that do not have the InternalIP: what the node is called on them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct masquerade_key);
	__type(value, struct masquerade_entry);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} seta_masquerade SEC(".maps");

INLINE __be32 nat_address_of(__u32 ifindex)
{
	struct masquerade_key key = { .ifindex = ifindex, .family = FAMILY_V4 };
	struct masquerade_entry *found = bpf_map_lookup_elem(&seta_masquerade, &key);

	return found ? found->ip.v4 : cfg.node_ip.v4;
}

INLINE void nat_search_for(struct nat_search *search, const struct ct4_tuple *out, __be32 addr)
{
	search->entry = (struct nat4_entry){ 0, out->saddr, out->sport, 0 };
	search->answer = (struct ct4_tuple){ addr, out->daddr, 0, out->dport, out->nexthdr,
					     CT_TUPLE_IN };
}

/* Of ICMP only echo has an identifier to tell connections apart by. */
INLINE bool nat_knows(const struct pkt *p, __u8 echo)
{
	__u8 proto = p->is_error ? p->inner.proto : p->t.proto;

	if (proto == IPPROTO_ICMP)
		return p->is_error || p->icmp_type == echo;
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;
}

/* An answer to somebody who reached the pod by its own address. */
INLINE bool nat_is_answer(const struct pkt *p)
{
	const struct tuple *t = p->is_error ? &p->inner : &p->t;
	union ct_key key = {};

	ct_key_reverse(&key, t, FAMILY_V4, CT_TUPLE_IN);
	return ct_is_alive(ct_find(&key, FAMILY_V4, t->proto == IPPROTO_TCP), ct_now());
}

/* Stage: the pod's packet gets the node's address. */
INLINE int nat_masquerade(struct pkt *p)
{
	struct nat_search search = {};
	struct nat4_entry entry = {};
	union ct_key out = {};

	ct_key_forward(&out, p->is_error ? &p->inner : &p->t, FAMILY_V4, CT_TUPLE_OUT);
	nat_search_for(&search, &out.v4, nat_address_of(p->skb->ifindex));
	if (!nat_find(&out.v4, &search, &entry)) {
		if (nat_is_answer(p))
			return 0;
		if (!nat_knows(p, ICMP_ECHO))
			return DROP(p, DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE);
		if (p->is_error)	/* about nothing that ever went out */
			return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
		TRY(nat_allocate(p, &out.v4, &search, &entry));
	}
	return nat_rewrite_source(p, entry.to_addr, entry.to_port);
}

enum nat_owner {
	NAT_NOBODY = 0,		/* no answer to anything of ours; untouched */
	NAT_POD = 1,
	NAT_CLIENT = 2,		/* of a service: p->answer_of says of which frontend */
};

INLINE bool nat_may_be_answer(const struct pkt *p)
{
	const struct tuple *t = p->is_error ? &p->inner : &p->t;

	return nat_knows(p, ICMP_ECHOREPLY) && nat_port_in_range(bpf_ntohs(t->dport));
}

/* Stage: an answer to a packet that left with the node's address gets its owner's back.
 * Returns whose it is: enum nat_owner.
 */
INLINE int nat_unmasquerade(struct pkt *p)
{
	struct nat4_entry *entry;
	union ct_key key = {};

	if (!nat_may_be_answer(p))
		return NAT_NOBODY;
	ct_key_forward(&key, p->is_error ? &p->inner : &p->t, FAMILY_V4, CT_TUPLE_IN);
	entry = bpf_map_lookup_elem(&cilium_snat_v4_external, &key.v4);
	if (!entry)
		return NAT_NOBODY;
	p->answer_of = entry->rev_nat_index;
	TRY(nat_rewrite_destination(p, entry->to_addr, entry->to_port));
	return p->answer_of ? NAT_CLIENT : NAT_POD;
}

#endif
