/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The one way out of every program: counts in cilium_metrics, reports in
 * cilium_events, and turns a reason into a drop. Also keeps in the BTF what only
 * user space reads.
 */
#ifndef SETA_EXIT_H
#define SETA_EXIT_H

#include "common.h"
#include "config.h"
#include "events.h"
#include "metrics.h"
#include "packet.h"
#include "policy.h"
#include "conntrack.h"

/* Never read. A type reaches the BTF only through a variable, and the agent takes
 * its layouts and its words from there.
 */
struct vocabulary {
	enum drop_reason drop_reason;
	enum metric_reason metric_reason;
	enum source_file source_file;
	enum direction direction;
	enum event_type event_type;
	enum event_verdict event_verdict;
	enum observation_point observation_point;
	enum ct_state ct_state;
	enum ct_tuple_flag ct_tuple_flag;
	enum ct_entry_flag ct_entry_flag;
	enum policy_match policy_match;
	enum endpoint_flag endpoint_flag;
	enum reserved_identity reserved_identity;
	enum family family;
	enum trace_level trace_level;
	struct event event;
	struct policy_key policy_key;
	struct policy_entry policy_entry;
};

const volatile struct vocabulary vocabulary __attribute__((used)) = {};

INLINE bool trace_is_wanted(const struct pkt *p)
{
	if (cfg.trace_level == TRACE_MEDIUM)
		return p->is_new || p->tcp_flags & (TCP_FIN | TCP_RST);
	return cfg.trace_level == TRACE_ALL;
}

/* rc: a tc action, or the negative of a drop reason. */
INLINE int leave(struct pkt *p, int rc)
{
	struct metrics_key key = { .dir = p->dir };

	if (rc >= 0) {
		metrics_count(&key, p->skb->len);
		if (trace_is_wanted(p))
			event_report(p, EVENT_TRACE, 0, VERDICT_FORWARDED);
		return rc;
	}
	key.reason = -rc;
	key.line = p->line;
	key.file = p->file;
	metrics_count(&key, p->skb->len);
	event_report(p, EVENT_DROP, -rc, VERDICT_DROPPED);
	return TC_ACT_SHOT;
}

#endif
