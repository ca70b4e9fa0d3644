/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_snat_v4_external: whose packets leave with another address and port. Two
 * entries per connection: one says what the packet becomes, the one under the answer's
 * tuple (IN) says whose it is; making the second with NOEXIST is what reserves the port
 * of the node. Pods going out (nat.h) and clients of services (nat_service.h) share the
 * ports.
 */
#ifndef SETA_NAT_PORT_H
#define SETA_NAT_PORT_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "lb.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_NAT_PORT_H

/* Keys, by their flags: OUT is a pod's connection, SERVICE a client's to a frontend:
 * either gets the node's address. IN is an answer, which gets its owner's. SERVICE | IN
 * is a backend's answer and gets the frontend that no index names on this node.
 */
#define NAT_FRONT (CT_TUPLE_SERVICE | CT_TUPLE_IN)

struct nat4_entry {
	__u64 created;		/* ns, CLOCK_MONOTONIC */
	__be32 to_addr;
	__be16 to_port;
	__be16 rev_nat_index;	/* IN: the owner is a client of this frontend, or 0 */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 524288);
	__type(key, struct ct4_tuple);
	__type(value, struct nat4_entry);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_snat_v4_external SEC(".maps");

/* Ports tried for one connection: its own, then from a random one upwards. The first few
 * must be free; then those will do whose connection has been closed by both sides, and
 * last those among which the node's own connections choose theirs, too.
 */
#define NAT_ATTEMPTS 128
#define NAT_CHOOSY 8
#define NAT_WIDE 96

/* One search for a free port; handed to bpf_loop. */
struct nat_search {
	struct __sk_buff *skb;
	struct nat4_entry entry;	/* of the IN entry: the owner */
	struct ct4_tuple answer;	/* key of the IN entry; dport is what is sought */
	__u16 own;			/* host order */
	__u32 start;
	__u32 found;
};

INLINE __u16 nat_wide_min(void)
{
	return cfg.nat_wide_min ?: cfg.nat_port_min;
}

/* Whether answers to this port of the node may be others'. */
INLINE bool nat_port_in_range(__u16 port)
{
	return port >= nat_wide_min() && port <= cfg.nat_port_max;
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

/* Under which tuple conntrack has the connection that holds a port: a pod's is known by
 * the answering side, a client's by the frontend it asked. False: by one that is gone.
 */
INLINE bool nat_opened(const struct ct4_tuple *answer, const struct nat4_entry *holder,
		       struct ct4_tuple *opened)
{
	struct lb4_reverse_nat *front;

	*opened = (struct ct4_tuple){ answer->saddr, holder->to_addr, answer->sport,
				      holder->to_port, answer->nexthdr, CT_TUPLE_OUT };
	if (!holder->rev_nat_index)
		return true;
	front = lb4_reverse(holder->rev_nat_index);
	if (!front)
		return false;
	opened->daddr = front->address;
	opened->dport = front->port;
	opened->flags = CT_TUPLE_SERVICE;
	return true;
}

/* Whether the connection that holds a port lives. `closed`: whether one that is closed
 * does.
 */
INLINE bool nat_is_in_use(const struct ct4_tuple *answer, const struct nat4_entry *holder,
			  bool closed)
{
	struct ct_entry *entry;
	union ct_key key = {};

	if (!nat_opened(answer, holder, &key.v4))
		return false;
	entry = ct_find(&key, FAMILY_V4, answer->nexthdr == IPPROTO_TCP);
	return ct_is_alive(entry, ct_now()) &&
	       (closed || (entry->flags & CT_CLOSED) != CT_CLOSED);
}

INLINE bool nat_same_owner(const struct nat4_entry *a, const struct nat4_entry *b)
{
	return a->to_addr == b->to_addr && a->to_port == b->to_port &&
	       a->rev_nat_index == b->rev_nat_index;
}

INLINE bool nat_port_is_eligible(__u32 attempt, __u16 port)
{
	return attempt || (port >= cfg.nat_port_min && port <= cfg.nat_port_max);
}

INLINE __u16 nat_candidate(const struct nat_search *s, __u32 attempt)
{
	__u32 first = attempt < NAT_WIDE ? cfg.nat_port_min : nat_wide_min();

	if (!attempt)
		return s->own;
	return first + (s->start + attempt) % (cfg.nat_port_max - first + 1);
}

static long nat_try_port(__u32 attempt, struct nat_search *s)
{
	__u16 port = nat_candidate(s, attempt);
	struct nat4_entry *holder;

	s->answer.dport = bpf_htons(port);
	if (!nat_port_is_eligible(attempt, port) || nat_host_listens(s))
		return 0;
	if (bpf_map_update_elem(&cilium_snat_v4_external, &s->answer, &s->entry, BPF_NOEXIST)) {
		holder = bpf_map_lookup_elem(&cilium_snat_v4_external, &s->answer);
		if (!holder || (!nat_same_owner(holder, &s->entry) &&
				nat_is_in_use(&s->answer, holder, attempt < NAT_CHOOSY)))
			return 0;
		bpf_map_update_elem(&cilium_snat_v4_external, &s->answer, &s->entry, BPF_ANY);
	}
	s->found = true;
	return 1;
}

/* Of SCTP nothing tells which ports the node's own connections have. */
INLINE __u32 nat_attempts(const struct nat_search *s)
{
	return s->answer.nexthdr == IPPROTO_SCTP ? NAT_WIDE : NAT_ATTEMPTS;
}

/* Reserves a port of the node for the connection `out` and writes both entries. Set in
 * `search`: entry without its time, and answer without its dport.
 */
COLD int nat_allocate(struct pkt *p, const struct ct4_tuple *out, struct nat_search *search,
		      struct nat4_entry *result)
{
	search->skb = p->skb;
	search->entry.created = bpf_ktime_get_ns();
	search->own = bpf_ntohs(out->sport);
	search->start = bpf_get_prandom_u32() >> 1;
	bpf_loop(nat_attempts(search), nat_try_port, search, 0);
	if (!search->found)
		return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	*result = (struct nat4_entry){ search->entry.created, search->answer.daddr,
				       search->answer.dport, 0 };
	if (bpf_map_update_elem(&cilium_snat_v4_external, out, result, BPF_ANY))
		return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	p->is_new = true;
	return 0;
}

/* The mapping of `out`, if both halves are there: the LRU may have taken one. Looking
 * at both also keeps both equally young. `search` as for nat_allocate().
 */
INLINE bool nat_find(const struct ct4_tuple *out, struct nat_search *search,
		     struct nat4_entry *result)
{
	struct nat4_entry *entry = bpf_map_lookup_elem(&cilium_snat_v4_external, out);
	struct nat4_entry *back;

	if (!entry || entry->to_addr != search->answer.daddr)
		return false;
	*result = *entry;
	search->answer.dport = result->to_port;
	back = bpf_map_lookup_elem(&cilium_snat_v4_external, &search->answer);
	return back && nat_same_owner(back, &search->entry);
}

#endif
