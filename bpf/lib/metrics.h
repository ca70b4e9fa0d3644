/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_metrics: packets and bytes by outcome and direction, one counter per CPU.
 * Written by the exit of every program (exit.h); read by the agent's metrics.
 */
#ifndef SETA_METRICS_H
#define SETA_METRICS_H

#include "common.h"
#include "drop.h"

enum direction {
	DIR_UNKNOWN = 0,
	DIR_INGRESS = 1,	/* towards a pod */
	DIR_EGRESS = 2,		/* from a pod */
	DIR_SERVICE = 3,
};

struct metrics_key {
	__u8 reason;		/* enum drop_reason, or metric_reason */
	__u8 dir;
	__u16 line;		/* of a drop; 0 otherwise */
	__u8 file;		/* enum source_file */
	__u8 pad[3];
};

struct metrics_value {
	__u64 count;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct metrics_key);
	__type(value, struct metrics_value);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_metrics SEC(".maps");

INLINE void metrics_count(const struct metrics_key *key, __u32 bytes)
{
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, key);
	struct metrics_value first = { .count = 1, .bytes = bytes };

	if (value) {
		value->count++;
		value->bytes += bytes;
		return;
	}
	bpf_map_update_elem(&cilium_metrics, key, &first, BPF_NOEXIST);
}

#endif
