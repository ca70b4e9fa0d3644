/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sessionAffinity ClientIP: cilium_lb4_affinity and its IPv6 twin remember which
 * backend a client was last given; cilium_lb_affinity_match, written by the agent, says
 * which backends a service still has for which scope. Called by lb_select.h.
 *
 * A client is its address where packets come in, and its network namespace at the
 * socket, where no source address is chosen yet: the same thing for a pod.
 */
#ifndef SETA_LB_AFFINITY_H
#define SETA_LB_AFFINITY_H

#include "common.h"
#include "lb.h"

struct lb4_affinity_key {
	__u64 client_id;	/* IPv4 address, or cookie */
	__be16 rev_nat_id;
	__u8 netns;		/* 1: client_id is the cookie of a network namespace */
	__u8 pad[5];
};

struct lb6_affinity_key {
	union ip16 client_id;	/* address; a cookie lies in the first eight bytes */
	__be16 rev_nat_id;
	__u8 netns;
	__u8 pad[5];
};

struct lb_affinity {
	__u64 last_used;	/* seconds, CLOCK_MONOTONIC */
	__u32 backend_id;
	__u32 pad;
};

struct lb_affinity_match {
	__u32 backend_id;
	__be16 rev_nat_id;
	__u8 scope;		/* enum lb_scope, as in the keys of the service's slots */
	__u8 pad;
};

#define LB_AFFINITY_MAP(name, key_type)				\
	struct {						\
		__uint(type, BPF_MAP_TYPE_LRU_HASH);		\
		__uint(max_entries, 65536);			\
		__type(key, key_type);				\
		__type(value, struct lb_affinity);		\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
	} name SEC(".maps")

LB_AFFINITY_MAP(cilium_lb4_affinity, struct lb4_affinity_key);
LB_AFFINITY_MAP(cilium_lb6_affinity, struct lb6_affinity_key);
LB_MAP(cilium_lb_affinity_match, 65536, struct lb_affinity_match, __u8);

#define LB_AFFINITY_SECONDS 0xffffff

/* Who asks which service. */
struct lb_client {
	__u64 id;		/* IPv4 address, or cookie of the network namespace */
	__be16 rev_nat_index;
	__u8 family;		/* of the service */
	bool by_netns;
	__u8 scope;		/* of the service's slots that the client may be given */
};

INLINE struct lb_affinity *lb_affinity_lookup(const struct lb_client *client)
{
	struct lb4_affinity_key key4 = { .client_id = client->id, .netns = client->by_netns,
					 .rev_nat_id = client->rev_nat_index };
	struct lb6_affinity_key key6 = { .netns = client->by_netns,
					 .rev_nat_id = client->rev_nat_index };

	if (client->family == FAMILY_V4)
		return bpf_map_lookup_elem(&cilium_lb4_affinity, &key4);
	key6.client_id.words[0] = client->id;
	key6.client_id.words[1] = client->id >> 32;
	return bpf_map_lookup_elem(&cilium_lb6_affinity, &key6);
}

/* Coarse clock: affinity counts in seconds. */
INLINE __u64 lb_affinity_now(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_SEC;
}

/* The backend this client keeps, 0 for none: never given, given too long ago, or no
 * longer the service's.
 */
INLINE __u32 lb_affinity_find(const struct lb_client *client, __u32 timeout)
{
	struct lb_affinity *found = lb_affinity_lookup(client);
	struct lb_affinity_match match = { .rev_nat_id = client->rev_nat_index,
					   .scope = client->scope };
	__u64 now = lb_affinity_now();

	if (!found || found->last_used + timeout <= now)
		return 0;
	match.backend_id = found->backend_id;
	if (!bpf_map_lookup_elem(&cilium_lb_affinity_match, &match))
		return 0;
	if (found->last_used != now)
		found->last_used = now;
	return match.backend_id;
}

INLINE void lb_affinity_store(const struct lb_client *client, __u32 backend_id)
{
	struct lb4_affinity_key key4 = { .client_id = client->id, .netns = client->by_netns,
					 .rev_nat_id = client->rev_nat_index };
	struct lb6_affinity_key key6 = { .netns = client->by_netns,
					 .rev_nat_id = client->rev_nat_index };
	struct lb_affinity value = { .last_used = lb_affinity_now(), .backend_id = backend_id };

	if (client->family == FAMILY_V4) {
		bpf_map_update_elem(&cilium_lb4_affinity, &key4, &value, BPF_ANY);
		return;
	}
	key6.client_id.words[0] = client->id;
	key6.client_id.words[1] = client->id >> 32;
	bpf_map_update_elem(&cilium_lb6_affinity, &key6, &value, BPF_ANY);
}

#endif
