// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Takes out of the conntrack and NAT tables what is over. Attached nowhere; the agent runs
 * them now and then (BPF_PROG_TEST_RUN).
 *
 * Here and not in the agent, because a port may be used again at any moment: between the
 * look at an entry and its end lie a few instructions, not a batch on its way to user space.
 */
#include "lib/common.h"
#include "lib/conntrack.h"
#include "lib/nat_port.h"

/* How long a mapping may be without a connection: it may just have been made. */
#define GRACE (60 * NSEC_PER_SEC)

/* The context, and the answer: entries deleted, by table. */
struct swept {
	__u32 ct4;
	__u32 ct_any4;
	__u32 ct6;
	__u32 ct_any6;
	__u32 nat4;
};

struct bpf_map;

struct sweep {
	__u64 now;		/* ns, CLOCK_MONOTONIC */
	__u32 deleted;
};

static long sweep_connection(struct bpf_map *map, const void *key, struct ct_entry *entry,
			     struct sweep *s)
{
	if (!ct_is_alive(entry, s->now / NSEC_PER_SEC) && !bpf_map_delete_elem(map, key))
		s->deleted++;
	return 0;
}

/* How many entries `look` deleted. Inlined: the verifier wants to know the map. */
INLINE __u32 sweep_table(void *map, void *look)
{
	struct sweep s = { .now = bpf_ktime_get_ns() };

	bpf_for_each_map_elem(map, look, &s, 0);
	return s.deleted;
}

SEC("syscall")
int sweep_conntrack(struct swept *out)
{
	out->ct4 = sweep_table(&cilium_ct4_global, sweep_connection);
	out->ct_any4 = sweep_table(&cilium_ct_any4_global, sweep_connection);
	out->ct6 = sweep_table(&cilium_ct6_global, sweep_connection);
	out->ct_any6 = sweep_table(&cilium_ct_any6_global, sweep_connection);
	return 0;
}

INLINE bool is_known(const struct ct4_tuple *tuple, __u32 now)
{
	union ct_key key = { .v4 = *tuple };

	return ct_is_alive(ct_find(&key, FAMILY_V4, tuple->nexthdr == IPPROTO_TCP), now);
}

/* What went to the backend, as its endpoint knows it or, if the client is a pod here, the
 * client's.
 */
INLINE bool is_front_known(const struct ct4_tuple *answer, __u32 now)
{
	struct ct4_tuple there = { answer->saddr, answer->daddr, answer->sport, answer->dport,
				   answer->nexthdr, CT_TUPLE_IN };

	if (is_known(&there, now))
		return true;
	there.flags = CT_TUPLE_OUT;
	return is_known(&there, now);
}

/* Whether conntrack knows the connection that a mapping is of. */
INLINE bool has_connection(const struct ct4_tuple *key, const struct nat4_entry *entry, __u32 now)
{
	struct ct4_tuple opened;

	if (key->flags == NAT_FRONT)
		return is_front_known(key, now);
	if (key->flags != CT_TUPLE_IN)
		return is_known(key, now);
	return nat_opened(key, entry, &opened) && is_known(&opened, now);
}

static long sweep_mapping(struct bpf_map *map, const struct ct4_tuple *key,
			  struct nat4_entry *entry, struct sweep *s)
{
	if (entry->created + GRACE < s->now &&
	    !has_connection(key, entry, s->now / NSEC_PER_SEC) && !bpf_map_delete_elem(map, key))
		s->deleted++;
	return 0;
}

SEC("syscall")
int sweep_nat(struct swept *out)
{
	out->nat4 = sweep_table(&cilium_snat_v4_external, sweep_mapping);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
