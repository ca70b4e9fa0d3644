/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* loadBalancerSourceRanges: cilium_lb4_source_range and its IPv6 twin, the ranges of
 * each service that has LB_SOURCE_RANGE. Without a range nobody is in one.
 *
 * Asked for packets from outside only. What pods and nodes send to the same address
 * takes the short way to the backends: it never passes the balancer that the ranges
 * stand at, the same pods reach the same backends by the ClusterIP, and what keeps pods
 * from pods is policy. A range written for the world's clients therefore does not lock
 * out a pod that uses the service's public name.
 */
#ifndef SETA_LB_SOURCE_H
#define SETA_LB_SOURCE_H

#include "common.h"
#include "lb.h"

struct lb4_source_range_key {
	__u32 prefixlen;	/* counts the 32 bits before the address too */
	__be16 rev_nat_id;
	__u16 pad;
	__be32 addr;
};

struct lb6_source_range_key {
	__u32 prefixlen;
	__be16 rev_nat_id;
	__u16 pad;
	union ip16 addr;
};

#define LB_SOURCE_STATIC_BITS 32

#define LB_SOURCE_MAP(name, key_type)				\
	struct {						\
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);		\
		__uint(max_entries, 65536);			\
		__type(key, key_type);				\
		__type(value, __u8);				\
		__uint(map_flags, BPF_F_NO_PREALLOC);		\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
	} name SEC(".maps")

LB_SOURCE_MAP(cilium_lb4_source_range, struct lb4_source_range_key);
LB_SOURCE_MAP(cilium_lb6_source_range, struct lb6_source_range_key);

INLINE bool lb_source_in_range(const struct lb_service *service, const union ip16 *client,
			       __u8 family)
{
	struct lb4_source_range_key key4 = { .prefixlen = LB_SOURCE_STATIC_BITS + 32,
					     .rev_nat_id = service->rev_nat_index,
					     .addr = client->v4 };
	struct lb6_source_range_key key6 = { .prefixlen = LB_SOURCE_STATIC_BITS + 128,
					     .rev_nat_id = service->rev_nat_index,
					     .addr = *client };

	if (family == FAMILY_V4)
		return bpf_map_lookup_elem(&cilium_lb4_source_range, &key4);
	return bpf_map_lookup_elem(&cilium_lb6_source_range, &key6);
}

/* Whether a client outside the cluster may use the service. */
INLINE bool lb_source_allowed(const struct lb_service *service, const union ip16 *client,
			      __u8 family)
{
	__u16 flags = lb_flags(service);

	if (!(flags & LB_SOURCE_RANGE))
		return true;
	return lb_source_in_range(service, client, family) != !!(flags & LB_SOURCE_RANGE_DENY);
}

#endif
