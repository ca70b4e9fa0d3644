/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who may speak to whom: one LPM map per endpoint (cilium_policy_v2_<id>), found
 * through cilium_policy_maps by endpoint id. The agent makes the inner maps, fills
 * them before the endpoint gets its address in cilium_lxc, and keeps them current.
 * No inner map is a drop, never a pass.
 */
#ifndef SETA_POLICY_H
#define SETA_POLICY_H

#include "common.h"
#include "eps.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_POLICY_H

struct policy_key {
	__u32 prefixlen;
	__u32 sec_label;	/* identity of the peer; 0: any */
	__u8 egress;		/* 1: what leaves the endpoint */
	__u8 protocol;
	__be16 dport;		/* of the connection; ICMP: type in the first byte */
};

#define POLICY_STATIC_BITS 40	/* sec_label and egress are always compared */
#define POLICY_PROTO_BITS 8
#define POLICY_PORT_BITS 16

struct policy_entry {
	__be16 proxy_port;
	__u8 deny;
	__u8 auth_type;
	__u32 precedence;	/* higher decides; equal: deny does */
	__u32 cookie;		/* names the policy in events */
	__u8 prefixlen;		/* the entry's own, as in its key: what matched */
	__u8 pad[3];
	__u64 packets;		/* counted here; the agent leaves them alone */
	__u64 bytes;
};

/* What of the entry matched, as flows show it. */
enum policy_match {
	MATCH_NONE = 0,
	MATCH_L3_ONLY = 1,
	MATCH_L3_L4 = 2,
	MATCH_L4_ONLY = 3,
	MATCH_ALL = 4,
	MATCH_L3_PROTO = 5,
	MATCH_PROTO_ONLY = 6,
};

/* The inner map is described by sizes: clang turns the key type of a nested map
 * definition into a forward declaration, and libbpf then finds no size for it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);
		__uint(max_entries, 16384);
		__uint(key_size, sizeof(struct policy_key));
		__uint(value_size, sizeof(struct policy_entry));
		__uint(map_flags, BPF_F_NO_PREALLOC);
	});
} cilium_policy_maps SEC(".maps");

INLINE bool policy_is_open(const struct endpoint_info *ep, __u8 dir)
{
	return ep->flags & (dir == DIR_INGRESS ? ENDPOINT_INGRESS_OPEN : ENDPOINT_EGRESS_OPEN);
}

/* The entry for this very identity (l3) or the one for any, whichever decides. */
INLINE struct policy_entry *policy_choose(struct policy_entry *l3, struct policy_entry *any)
{
	if (!l3 || !any)
		return l3 ?: any;
	if (l3->precedence != any->precedence)
		return l3->precedence > any->precedence ? l3 : any;
	return any->deny && !l3->deny ? any : l3;
}

INLINE __u8 policy_match_of(const struct policy_entry *entry, bool is_l3)
{
	if (entry->prefixlen > POLICY_STATIC_BITS + POLICY_PROTO_BITS)
		return is_l3 ? MATCH_L3_L4 : MATCH_L4_ONLY;
	if (entry->prefixlen > POLICY_STATIC_BITS)
		return is_l3 ? MATCH_L3_PROTO : MATCH_PROTO_ONLY;
	return is_l3 ? MATCH_L3_ONLY : MATCH_ALL;
}

INLINE __be16 policy_port(const struct pkt *p)
{
	if (p->t.proto == IPPROTO_ICMP || p->t.proto == IPPROTO_ICMPV6)
		return bpf_htons((__u16)p->icmp_type << 8);
	return p->t.dport;
}

/* 0, or the reason the packet may not pass. Sets cookie and match. */
INLINE int policy_lookup(struct pkt *p, __u16 endpoint, __u8 dir, __u32 peer)
{
	struct policy_key key = {
		.prefixlen = POLICY_STATIC_BITS + POLICY_PROTO_BITS + POLICY_PORT_BITS,
		.sec_label = peer,
		.egress = dir == DIR_EGRESS,
		.protocol = p->t.proto,
		.dport = policy_port(p),
	};
	struct policy_entry *l3, *any, *entry;
	__u32 index = endpoint;
	void *map = bpf_map_lookup_elem(&cilium_policy_maps, &index);

	if (!map)
		return DROP(p, DROP_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION);
	l3 = bpf_map_lookup_elem(map, &key);
	key.sec_label = IDENTITY_UNKNOWN;
	any = bpf_map_lookup_elem(map, &key);
	entry = policy_choose(l3, any);
	if (!entry)
		return DROP(p, DROP_POLICY_DENIED);
	__sync_fetch_and_add(&entry->packets, 1);
	__sync_fetch_and_add(&entry->bytes, p->skb->len);
	p->cookie = entry->cookie;
	p->match = policy_match_of(entry, entry == l3);
	return entry->deny ? DROP(p, DROP_POLICY_DENY) : 0;
}

#endif
