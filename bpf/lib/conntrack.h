/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connection tracking: cilium_ct4_global (TCP), cilium_ct_any4_global (the rest) and
 * their twins for IPv6. An entry stands under the tuple of the connection's first
 * packet, with the direction in which the tracking endpoint saw it; what comes back
 * is found under the reversed tuple and the other direction, and needs no policy.
 */
#ifndef SETA_CONNTRACK_H
#define SETA_CONNTRACK_H

#include "common.h"
#include "config.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_CONNTRACK_H

/* Pods have no IPv6 yet, and what they send of it is dropped before it gets here. A
 * constant keeps the other family's half out of the objects until then.
 */
#define CT_FAMILY FAMILY_V4

enum ct_state {
	CT_NEW = 0,
	CT_ESTABLISHED = 1,
	CT_REPLY = 2,
	CT_RELATED = 3,		/* an ICMP error about a connection we know */
};

enum ct_tuple_flag {
	CT_TUPLE_OUT = 0,	/* the endpoint opened the connection */
	CT_TUPLE_IN = 1,	/* the connection came to the endpoint */
	CT_TUPLE_SERVICE = 4,	/* from a client to a frontend: which backend it has */
};

struct ct4_tuple {
	__be32 daddr;
	__be32 saddr;
	__be16 dport;
	__be16 sport;
	__u8 nexthdr;
	__u8 flags;		/* enum ct_tuple_flag */
} __attribute__((packed));

struct ct6_tuple {
	union ip16 daddr;
	union ip16 saddr;
	__be16 dport;
	__be16 sport;
	__u8 nexthdr;
	__u8 flags;
} __attribute__((packed));

union ct_key {
	struct ct4_tuple v4;
	struct ct6_tuple v6;
};

enum ct_entry_flag {
	CT_RX_CLOSING = 0x1,	/* FIN or RST from the answering side */
	CT_TX_CLOSING = 0x2,	/* from the opening side */
	CT_CLOSED = CT_RX_CLOSING | CT_TX_CLOSING,
	CT_SEEN_NON_SYN = 0x4,
	CT_DENIED = 0x8,		/* policy refuses its forward packets: answers stop,
					 * too. Set by the gate or, where no forward packet
					 * comes by, by the agent; an allowed one clears it */
	CT_FROM_TUNNEL = 0x10,	/* opened through the overlay: so answers to a node take it */
	CT_FRONT_IN_NAT = 0x20,	/* no index names the frontend here: the NAT map does */
	CT_DSR = 0x40,		/* a service's: the backend's node answers the client */
};

struct ct_entry {
	__u64 packets;		/* both directions */
	__u64 bytes;
	__u32 lifetime;		/* CLOCK_MONOTONIC seconds; over: the entry counts as absent */
	__u32 flags;		/* enum ct_entry_flag */
	__u32 src_sec_id;	/* identity of the side that opened it */
	__be16 rev_nat_index;	/* the frontend that the opening side asked for, or 0 */
	__u8 tx_flags_seen;	/* TCP flags of the opening side, ored */
	__u8 rx_flags_seen;	/* of the answering side */
	__u32 backend_id;	/* of a CT_TUPLE_SERVICE entry */
	__u32 pad;
};

#define CT_MAP(name, tuple, size)				\
	struct {						\
		__uint(type, BPF_MAP_TYPE_LRU_HASH);		\
		__uint(max_entries, size);			\
		__type(key, tuple);				\
		__type(value, struct ct_entry);			\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
	} name SEC(".maps")

CT_MAP(cilium_ct4_global, struct ct4_tuple, 524288);
CT_MAP(cilium_ct_any4_global, struct ct4_tuple, 262144);
CT_MAP(cilium_ct6_global, struct ct6_tuple, 524288);
CT_MAP(cilium_ct_any6_global, struct ct6_tuple, 262144);

INLINE void ct_key_forward(union ct_key *key, const struct tuple *t, __u8 family, __u8 flags)
{
	if (family == FAMILY_V4)
		key->v4 = (struct ct4_tuple){ t->daddr.v4, t->saddr.v4, t->dport, t->sport,
					      t->proto, flags };
	else
		key->v6 = (struct ct6_tuple){ t->daddr, t->saddr, t->dport, t->sport,
					      t->proto, flags };
}

INLINE void ct_key_reverse(union ct_key *key, const struct tuple *t, __u8 family, __u8 flags)
{
	if (family == FAMILY_V4)
		key->v4 = (struct ct4_tuple){ t->saddr.v4, t->daddr.v4, t->sport, t->dport,
					      t->proto, flags };
	else
		key->v6 = (struct ct6_tuple){ t->saddr, t->daddr, t->sport, t->dport,
					      t->proto, flags };
}

/* One call per map: a lookup whose map is not a constant is not inlined by the
 * verifier. The empty asm keeps clang from joining the calls.
 */
INLINE struct ct_entry *ct_find(const union ct_key *key, __u8 family, bool tcp)
{
	struct ct_entry *entry;

	if (family == FAMILY_V4 && tcp) {
		entry = bpf_map_lookup_elem(&cilium_ct4_global, key);
		asm volatile("" ::: "memory");
	} else if (family == FAMILY_V4) {
		entry = bpf_map_lookup_elem(&cilium_ct_any4_global, key);
	} else if (tcp) {
		entry = bpf_map_lookup_elem(&cilium_ct6_global, key);
	} else {
		entry = bpf_map_lookup_elem(&cilium_ct_any6_global, key);
	}
	return entry;
}

/* Coarse clock: 4 ms late at most and a quarter of the cost. */
INLINE __u32 ct_now(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_SEC;
}

INLINE __u32 ct_timeout(__u32 flags, bool tcp)
{
	if (!tcp)
		return cfg.ct_any;
	if ((flags & CT_CLOSED) == CT_CLOSED)
		return cfg.ct_tcp_fin;
	return flags & CT_SEEN_NON_SYN ? cfg.ct_tcp : cfg.ct_tcp_syn;
}

INLINE __u32 ct_flags_after(__u32 flags, __u8 tcp_flags, bool reply)
{
	if (tcp_flags & TCP_FIN)
		flags |= reply ? CT_RX_CLOSING : CT_TX_CLOSING;
	if (tcp_flags & TCP_RST)
		flags |= CT_CLOSED;
	if (!(tcp_flags & TCP_SYN))
		flags |= CT_SEEN_NON_SYN;
	return flags;
}

INLINE void ct_touch_tcp(struct ct_entry *entry, const struct pkt *p, bool reply)
{
	__u32 flags = ct_flags_after(entry->flags, p->tcp_flags, reply);
	__u8 *seen = reply ? &entry->rx_flags_seen : &entry->tx_flags_seen;

	if (flags != entry->flags)
		__sync_fetch_and_or(&entry->flags, flags);
	if ((*seen | p->tcp_flags) != *seen)
		*seen |= p->tcp_flags;
}

/* Writes only what changes: both ends' CPUs share this cache line. */
INLINE void ct_touch(struct ct_entry *entry, const struct pkt *p, bool tcp, bool reply)
{
	__u32 lifetime;

	__sync_fetch_and_add(&entry->packets, 1);
	__sync_fetch_and_add(&entry->bytes, p->len);
	if (tcp && p->fragment != FRAGMENT_LATER)
		ct_touch_tcp(entry, p, reply);
	lifetime = p->now + ct_timeout(entry->flags, tcp);
	if (entry->lifetime != lifetime)
		entry->lifetime = lifetime;
}

INLINE bool ct_is_alive(const struct ct_entry *entry, __u32 now)
{
	return entry && entry->lifetime > now;
}

/* By which frontend the connection's packets come: the last one's is what its answers
 * get. Of one that no index names, only the first packet may say so (dsr.h).
 */
INLINE void ct_follow(struct ct_entry *entry, const struct pkt *p)
{
	if (entry->flags & CT_FRONT_IN_NAT && !p->rev_nat_index)
		return;
	if (entry->rev_nat_index != p->rev_nat_index)
		entry->rev_nat_index = p->rev_nat_index;
	if ((entry->flags ^ p->new_flags) & CT_FRONT_IN_NAT)
		__sync_fetch_and_xor(&entry->flags, CT_FRONT_IN_NAT);
}

/* Looks for the packet's connection as opened by its sender (or, `reply`, by its
 * receiver). A SYN alone is never an answer, so no answer's way past the policy is
 * open to it; and it opens a closing connection anew.
 */
INLINE enum ct_state ct_probe(struct pkt *p, const struct tuple *t, __u8 dir, bool reply)
{
	__u8 flags = (dir == DIR_INGRESS) != reply ? CT_TUPLE_IN : CT_TUPLE_OUT;
	bool tcp = t->proto == IPPROTO_TCP;
	struct ct_entry *entry;
	union ct_key key = {};

	if (reply && is_pure_syn(p))
		return CT_NEW;
	if (reply)
		ct_key_reverse(&key, t, CT_FAMILY, flags);
	else
		ct_key_forward(&key, t, CT_FAMILY, flags);
	entry = ct_find(&key, CT_FAMILY, tcp);
	if (!ct_is_alive(entry, p->now))
		return CT_NEW;
	if (!p->is_error && is_pure_syn(p) && entry->flags & CT_CLOSED)
		return CT_NEW;
	p->ct_flags = entry->flags;
	p->answer_of = reply ? entry->rev_nat_index : 0;
	if (p->is_error)
		return CT_RELATED;
	if (!reply)
		ct_follow(entry, p);
	ct_touch(entry, p, tcp, reply);
	p->ct = entry;
	return reply ? CT_REPLY : CT_ESTABLISHED;
}

/* The packet's state for an endpoint seeing it in direction `dir`. Both ways are
 * looked for; the one that the ports suggest comes first, as most packets need no
 * second look then. The clock is read once per packet.
 */
INLINE enum ct_state ct_lookup(struct pkt *p, __u8 dir)
{
	const struct tuple *t = p->is_error ? &p->inner : &p->t;
	bool reply = bpf_ntohs(t->sport) < bpf_ntohs(t->dport);
	enum ct_state state;

	if (!p->now)
		p->now = ct_now();
	p->ct = NULL;
	p->ct_flags = 0;
	p->answer_of = 0;
	state = ct_probe(p, t, dir, reply);
	return state == CT_NEW ? ct_probe(p, t, dir, !reply) : state;
}

INLINE long ct_store(const union ct_key *key, const struct ct_entry *entry, __u8 family, bool tcp)
{
	if (family == FAMILY_V4)
		return tcp ? bpf_map_update_elem(&cilium_ct4_global, key, entry, BPF_ANY)
			   : bpf_map_update_elem(&cilium_ct_any4_global, key, entry, BPF_ANY);
	return tcp ? bpf_map_update_elem(&cilium_ct6_global, key, entry, BPF_ANY)
		   : bpf_map_update_elem(&cilium_ct_any6_global, key, entry, BPF_ANY);
}

/* After the policy allowed a new connection. An ICMP error or a RST opens none. */
COLD int ct_create(struct pkt *p, __u8 dir)
{
	bool tcp = p->t.proto == IPPROTO_TCP;
	struct ct_entry entry = {
		.packets = 1,
		.bytes = p->skb->len,
		.src_sec_id = p->src_id,
		.flags = p->new_flags,
		.rev_nat_index = p->rev_nat_index,
		.tx_flags_seen = p->tcp_flags,
	};
	union ct_key key = {};

	if (p->is_error || p->tcp_flags & TCP_RST)
		return 0;
	if (tcp)
		entry.flags = ct_flags_after(entry.flags, p->tcp_flags, false);
	entry.lifetime = p->now + ct_timeout(entry.flags, tcp);
	ct_key_forward(&key, &p->t, CT_FAMILY, dir == DIR_INGRESS ? CT_TUPLE_IN : CT_TUPLE_OUT);
	if (ct_store(&key, &entry, CT_FAMILY, tcp))
		return DROP(p, DROP_CT_MAP_INSERTION_FAILED);
	return 0;
}

#endif
