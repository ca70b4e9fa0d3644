/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's own gate, for policies that select nodes. Off unless cfg.host_firewall: the
 * verifier then removes all of it. Called where the node's own packets pass: from_netdev,
 * to_netdev, from_overlay, to_overlay, and from_container for what pods send to the node.
 * What the node sends to its own pods is never refused: kubelet's probes live from that.
 *
 * It guards against new connections and leaves running ones alone, since the one that
 * would be cut is the administrator's. So TCP needs no table: a segment that is no SYN
 * opens nothing. The rest is tracked like a pod's, in the same tables.
 */
#ifndef SETA_HOST_H
#define SETA_HOST_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "eps.h"
#include "frag.h"
#include "gate.h"
#include "icmp.h"
#include "packet.h"
#include "parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_HOST_H

/* Whether a policy is for this node: the agent gives its addresses the endpoint id when
 * the policy map is filled. Until then all passes: a node must not be lost to a start.
 */
INLINE bool host_is_guarded(const struct endpoint_info *ep)
{
	return cfg.host_firewall && ep && ep->lxc_id == HOST_ENDPOINT_ID;
}

/* Stage: the node speaks protocols that pods do not; those have no ports. */
INLINE int host_parse(struct pkt *p)
{
	int rc = parse_l4(p);

	if (rc < 0 && rc != -(int)DROP_UNKNOWN_L4_PROTOCOL)
		return rc;
	TRY(frag_ports(p));
	return icmp_inner(p);
}

/* The tunnel's own packets: each is judged and none is tracked, as no answer comes back
 * to the port that one was sent from.
 */
INLINE bool host_is_tunnel(const struct pkt *p, __u32 peer)
{
	return cfg.tunnel && p->t.proto == IPPROTO_UDP && p->t.dport == cfg.tunnel_port &&
	       identity_is_node(peer);
}

INLINE enum ct_state host_state(struct pkt *p, __u8 dir)
{
	if (p->is_error)
		return CT_RELATED;
	if (p->t.proto == IPPROTO_TCP)
		return is_pure_syn(p) ? CT_NEW : CT_ESTABLISHED;
	return ct_lookup(p, dir);
}

/* Stage: conntrack and policy of the node in one direction. */
COLD int host_gate(struct pkt *p, const struct endpoint_info *ep, __u8 dir, __u32 peer)
{
	bool tunnel = host_is_tunnel(p, peer);

	p->dir = dir;
	p->ep_id = HOST_ENDPOINT_ID;
	p->ct_state = tunnel ? CT_ESTABLISHED : host_state(p, dir);
	if (p->ct_state != CT_NEW && !tunnel)
		return 0;
	if (!policy_is_open(ep, dir))
		TRY(gate_policy(p, ep, dir, peer));
	if (tunnel)
		return 0;
	p->is_new = true;
	return p->t.proto == IPPROTO_TCP ? 0 : ct_create(p, dir);
}

#endif
