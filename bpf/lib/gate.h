/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The two questions asked at each endpoint, in each direction: is the connection
 * known, and if the packet goes forward in it, may it? Same-node traffic passes two
 * gates in one program, since redirect_peer skips the target's own. A backend's answer
 * has its frontend's address when it leaves the gate.
 */
#ifndef SETA_GATE_H
#define SETA_GATE_H

#include "common.h"
#include "conntrack.h"
#include "eps.h"
#include "events.h"
#include "policy.h"
#include "service_back.h"

#undef THIS_FILE
#define THIS_FILE FILE_GATE_H

/* New connections and refusals are reported: one verdict per decision, not per packet.
 * Under audit nothing is refused, so there a connection is reported when it begins.
 */
COLD int gate_policy(struct pkt *p, const struct endpoint_info *ep, __u8 dir, __u32 peer)
{
	bool audit = ep->flags & ENDPOINT_AUDIT;
	int rc = policy_lookup(p, ep->lxc_id, dir, peer);
	__u8 verdict = VERDICT_FORWARDED;

	if ((rc >= 0 || audit) && p->ct_state != CT_NEW)
		return 0;
	if (rc < 0)
		verdict = audit ? VERDICT_AUDIT : VERDICT_DROPPED;
	event_report(p, EVENT_POLICY_VERDICT, rc < 0 ? -rc : 0, verdict);
	return verdict == VERDICT_DROPPED ? rc : 0;
}

/* The node reaches its own pods: kubelet probes must not need a policy. */
INLINE bool gate_is_exempt(__u8 dir, __u32 peer)
{
	return dir == DIR_INGRESS && peer == IDENTITY_HOST;
}

/* What goes forward in a known connection says whether its answers may. */
INLINE void gate_mark(struct ct_entry *entry, bool denied)
{
	if (!entry || !(entry->flags & CT_DENIED) == !denied)
		return;
	if (denied)
		__sync_fetch_and_or(&entry->flags, CT_DENIED);
	else
		__sync_fetch_and_and(&entry->flags, ~CT_DENIED);
}

INLINE int gate_answer(struct pkt *p, const struct endpoint_info *ep)
{
	if (p->ct && p->ct->flags & CT_DENIED && !(ep->flags & ENDPOINT_AUDIT))
		return DROP(p, DROP_POLICY_DENIED);
	return p->answer_of ? service_back(p) : 0;
}

/* Stage: conntrack and policy of one endpoint in one direction. */
COLD int gate(struct pkt *p, const struct endpoint_info *ep, __u8 dir, __u32 peer)
{
	int rc = 0;

	p->dir = dir;
	p->ep_id = ep->lxc_id;
	p->ct_state = ct_lookup(p, dir);
	if (p->ct_state == CT_REPLY || p->ct_state == CT_RELATED)
		return gate_answer(p, ep);
	if (!policy_is_open(ep, dir) && !gate_is_exempt(dir, peer))
		rc = gate_policy(p, ep, dir, peer);
	gate_mark(p->ct, rc < 0);
	if (rc < 0 || p->ct_state != CT_NEW)
		return rc;
	p->is_new = true;
	return ct_create(p, dir);
}

#endif
