/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_events: what happened to packets, for `seta monitor` and flows. One struct
 * for every type, so that the agent reads the ring as an array.
 */
#ifndef SETA_EVENTS_H
#define SETA_EVENTS_H

#include "common.h"
#include "drop.h"
#include "metrics.h"
#include "packet.h"

enum event_type {
	EVENT_DROP = 1,
	EVENT_TRACE = 4,
	EVENT_POLICY_VERDICT = 9,
};

enum event_verdict {
	VERDICT_FORWARDED = 1,
	VERDICT_DROPPED = 2,
	VERDICT_AUDIT = 4,
	VERDICT_REDIRECTED = 5,
};

enum observation_point {
	OBSERVED_TO_ENDPOINT = 0,
	OBSERVED_TO_PROXY = 1,
	OBSERVED_TO_HOST = 2,
	OBSERVED_TO_STACK = 3,
	OBSERVED_TO_OVERLAY = 4,
	OBSERVED_FROM_ENDPOINT = 5,
	OBSERVED_FROM_HOST = 7,
	OBSERVED_FROM_STACK = 8,
	OBSERVED_FROM_OVERLAY = 9,
	OBSERVED_FROM_NETWORK = 10,
	OBSERVED_TO_NETWORK = 11,
};

struct event {
	__u64 timestamp;	/* ns, CLOCK_MONOTONIC */
	union ip16 saddr;	/* as the packet has them when the event is made */
	union ip16 daddr;
	__u32 src_identity;
	__u32 dst_identity;
	__u32 ifindex;		/* where the program runs */
	__u32 length;		/* bytes with the Ethernet header */
	__u32 hash;		/* of the flow */
	__u32 cookie;		/* of the policy entry that decided, or 0 */
	__be16 sport;		/* ICMP requests: identifier; other ICMP: 0 */
	__be16 dport;
	__u16 endpoint_id;	/* whose policy and conntrack; 0: none yet */
	__u16 line;		/* drops: where decided */
	__u8 type;		/* enum event_type */
	__u8 reason;		/* enum drop_reason, or 0 */
	__u8 observation;	/* enum observation_point */
	__u8 verdict;		/* enum event_verdict */
	__u8 direction;		/* enum direction */
	__u8 ct_state;		/* enum ct_state */
	__u8 family;		/* enum family; 0: not IP */
	__u8 proto;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 match;		/* enum policy_match */
	__u8 file;		/* enum source_file */
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_events SEC(".maps");

INLINE void event_describe(struct event *e, const struct pkt *p)
{
	e->timestamp = bpf_ktime_get_ns();
	e->saddr = p->t.saddr;
	e->daddr = p->t.daddr;
	e->src_identity = p->src_id;
	e->dst_identity = p->dst_id;
	e->ifindex = p->skb->ifindex;
	e->length = p->skb->len;
	e->hash = bpf_get_hash_recalc(p->skb);
	e->cookie = p->cookie;
	e->sport = p->t.sport;
	e->dport = p->t.dport;
	e->endpoint_id = p->ep_id;
	e->line = p->line;
	e->observation = p->observation;
	e->direction = p->dir;
	e->ct_state = p->ct_state;
	e->family = p->family;
	e->proto = p->t.proto;
	e->tcp_flags = p->tcp_flags;
	e->icmp_type = p->icmp_type;
	e->icmp_code = p->icmp_code;
	e->match = p->match;
	e->file = p->file;
}

COLD int event_report(const struct pkt *p, __u8 type, __u8 reason, __u8 verdict)
{
	struct metrics_key lost = { .reason = REASON_EVENT_LOST, .dir = p->dir };
	struct event *e = bpf_ringbuf_reserve(&cilium_events, sizeof(*e), 0);

	if (!e) {
		metrics_count(&lost, sizeof(*e));
		return 0;
	}
	memset(e, 0, sizeof(*e));
	event_describe(e, p);
	e->type = type;
	e->reason = reason;
	e->verdict = verdict;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
