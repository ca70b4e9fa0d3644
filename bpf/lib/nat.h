/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: cilium_snat_v4_external, two entries per connection. The one under the
 * pod's tuple (OUT) says what the packet becomes, the one under the answer's tuple
 * (IN) says whose it is; making the second with NOEXIST is what reserves the port.
 * Called by to_netdev (out) and from_netdev (back); the rewriting is nat_rewrite.h's.
 */
#ifndef SETA_NAT_H
#define SETA_NAT_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "nat_rewrite.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_NAT_H

struct nat4_entry {
	__u64 created;		/* ns, CLOCK_MONOTONIC */
	__be32 to_addr;		/* OUT: the node; IN: the pod */
	__be16 to_port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 524288);
	__type(key, struct ct4_tuple);
	__type(value, struct nat4_entry);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_snat_v4_external SEC(".maps");

/* Ports tried for one connection: the pod's own, then from a random one upwards. */
#define NAT_ATTEMPTS 128

/* One search for a free port; handed to bpf_loop. */
struct nat_search {
	struct __sk_buff *skb;
	struct nat4_entry entry;	/* of the IN entry: the pod */
	struct ct4_tuple answer;	/* key of the IN entry; dport is what is sought */
	__u16 own;			/* host order */
	__u32 start;
	__u32 found;
};

INLINE bool nat_port_in_range(__u16 port)
{
	return port >= cfg.nat_port_min && port <= cfg.nat_port_max;
}

/* A socket of the node itself that would take the answers. */
INLINE bool nat_host_listens(struct nat_search *s)
{
	struct bpf_sock_tuple tuple = {
		.ipv4 = { s->answer.saddr, s->answer.daddr, s->answer.sport, s->answer.dport },
	};
	struct bpf_sock *sk = NULL;

	if (s->answer.nexthdr == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(s->skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else if (s->answer.nexthdr == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(s->skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* Whether the port's holder is ours, or its connection is over. */
INLINE bool nat_may_take_over(const struct nat_search *s, const struct nat4_entry *holder)
{
	union ct_key key = {};

	if (holder->to_addr == s->entry.to_addr && holder->to_port == s->entry.to_port)
		return true;
	key.v4 = (struct ct4_tuple){ s->answer.saddr, holder->to_addr, s->answer.sport,
				     holder->to_port, s->answer.nexthdr, CT_TUPLE_OUT };
	return !ct_is_alive(ct_find(&key, FAMILY_V4, key.v4.nexthdr == IPPROTO_TCP), ct_now());
}

static long nat_try_port(__u32 attempt, struct nat_search *s)
{
	__u32 range = cfg.nat_port_max - cfg.nat_port_min + 1;
	__u16 port = attempt ? cfg.nat_port_min + (s->start + attempt) % range : s->own;
	struct nat4_entry *holder;

	s->answer.dport = bpf_htons(port);
	if (!nat_port_in_range(port) || nat_host_listens(s))
		return 0;
	if (bpf_map_update_elem(&cilium_snat_v4_external, &s->answer, &s->entry, BPF_NOEXIST)) {
		holder = bpf_map_lookup_elem(&cilium_snat_v4_external, &s->answer);
		if (!holder || !nat_may_take_over(s, holder))
			return 0;
		bpf_map_update_elem(&cilium_snat_v4_external, &s->answer, &s->entry, BPF_ANY);
	}
	s->found = true;
	return 1;
}

INLINE void nat_answer_key(struct ct4_tuple *key, const struct ct4_tuple *out,
			   __be32 node, __be16 port)
{
	*key = (struct ct4_tuple){ node, out->daddr, port, out->dport, out->nexthdr, CT_TUPLE_IN };
}

/* Reserves a port for the pod's connection `out` and writes both entries. */
COLD int nat_allocate(struct pkt *p, const struct ct4_tuple *out, struct nat4_entry *result)
{
	struct nat_search search = {
		.skb = p->skb,
		.entry = { bpf_ktime_get_ns(), out->saddr, out->sport, 0 },
		.own = bpf_ntohs(out->sport),
		.start = bpf_get_prandom_u32() >> 1,
	};

	nat_answer_key(&search.answer, out, cfg.node_ip.v4, 0);
	bpf_loop(NAT_ATTEMPTS, nat_try_port, &search, 0);
	if (!search.found)
		return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	*result = (struct nat4_entry){ search.entry.created, cfg.node_ip.v4, search.answer.dport, 0 };
	if (bpf_map_update_elem(&cilium_snat_v4_external, out, result, BPF_ANY))
		return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	p->is_new = true;
	return 0;
}

/* The mapping of `out`, if both halves are there: the LRU may have taken one. Looking
 * at both also keeps both equally young.
 */
INLINE bool nat_find(const struct ct4_tuple *out, struct nat4_entry *result)
{
	struct nat4_entry *entry = bpf_map_lookup_elem(&cilium_snat_v4_external, out);
	struct nat4_entry *back;
	struct ct4_tuple answer;

	if (!entry || entry->to_addr != cfg.node_ip.v4)
		return false;
	*result = *entry;
	nat_answer_key(&answer, out, result->to_addr, result->to_port);
	back = bpf_map_lookup_elem(&cilium_snat_v4_external, &answer);
	return back && back->to_addr == out->saddr && back->to_port == out->sport;
}

/* Of ICMP only echo has an identifier to tell connections apart by. */
INLINE bool nat_knows(const struct pkt *p, __u8 echo)
{
	__u8 proto = p->is_error ? p->inner.proto : p->t.proto;

	if (proto == IPPROTO_ICMP)
		return p->is_error || p->icmp_type == echo;
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
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
	struct nat4_entry entry = {};
	union ct_key out = {};

	ct_key_forward(&out, p->is_error ? &p->inner : &p->t, FAMILY_V4, CT_TUPLE_OUT);
	if (!nat_find(&out.v4, &entry)) {
		if (nat_is_answer(p))
			return 0;
		if (!nat_knows(p, ICMP_ECHO))
			return DROP(p, DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE);
		if (p->is_error)	/* about nothing that ever went out */
			return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
		TRY(nat_allocate(p, &out.v4, &entry));
	}
	return nat_rewrite_source(p, entry.to_addr, entry.to_port);
}

/* Stage: an answer to a masqueraded packet gets the pod's address back.
 * 1: it was one; 0: it is the node's own and untouched.
 */
INLINE int nat_unmasquerade(struct pkt *p)
{
	const struct tuple *t = p->is_error ? &p->inner : &p->t;
	struct nat4_entry *entry;
	union ct_key key = {};

	if (!nat_knows(p, ICMP_ECHOREPLY) || !nat_port_in_range(bpf_ntohs(t->dport)))
		return 0;
	ct_key_forward(&key, t, FAMILY_V4, CT_TUPLE_IN);
	entry = bpf_map_lookup_elem(&cilium_snat_v4_external, &key.v4);
	if (!entry)
		return 0;
	TRY(nat_rewrite_destination(p, entry->to_addr, entry->to_port));
	return 1;
}

#endif
