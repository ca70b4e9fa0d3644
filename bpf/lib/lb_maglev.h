/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Maglev: cilium_lb4_maglev and its IPv6 twin, for each service a table of backend ids
 * that the agent computes from the same seed on every node. The same hash of the same
 * connection then finds the same backend on each of them, and a backend that goes moves
 * few of the others' connections. Called by lb_select.h.
 *
 * The table is one value of cfg.maglev_size words in an array of one entry. The agent
 * gives libbpf an inner map of that size before it loads; here stands the usual one.
 */
#ifndef SETA_LB_MAGLEV_H
#define SETA_LB_MAGLEV_H

#include "common.h"
#include "config.h"
#include "lb.h"

#define LB_MAGLEV_MAP(name)							\
	struct {								\
		__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);			\
		__uint(max_entries, 65536);					\
		__type(key, __be16);						\
		__type(value, __u32);						\
		__uint(map_flags, BPF_F_NO_PREALLOC);				\
		__uint(pinning, LIBBPF_PIN_BY_NAME);				\
		__array(values, struct {					\
			__uint(type, BPF_MAP_TYPE_ARRAY);			\
			__uint(max_entries, 1);					\
			__uint(key_size, sizeof(__u32));			\
			__uint(value_size, MAGLEV_SIZE * sizeof(__u32));	\
		});								\
	} name SEC(".maps")

LB_MAGLEV_MAP(cilium_lb4_maglev);
LB_MAGLEV_MAP(cilium_lb6_maglev);

/* The backend's id; 0: there is no table (yet). */
INLINE __u32 lb_maglev_find(const struct lb_service *service, __u8 family, __u32 hash)
{
	__be16 index = service->rev_nat_index;
	__u32 zero = 0, at, *table;
	void *inner;

	if (family == FAMILY_V4)
		inner = bpf_map_lookup_elem(&cilium_lb4_maglev, &index);
	else
		inner = bpf_map_lookup_elem(&cilium_lb6_maglev, &index);
	if (!inner)
		return 0;
	table = bpf_map_lookup_elem(inner, &zero);
	if (!table)
		return 0;
	at = hash % cfg.maglev_size;
	/* clang knows what a remainder is less than; the verifier wants to be told. */
	asm volatile("" : "+r"(at));
	return at < cfg.maglev_size ? table[at] : 0;
}

#endif
