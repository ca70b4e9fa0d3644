/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services from outside: what came to a frontend goes to a backend. On this node that sees
 * the client's address; on another one it sees this node's (nat_service.h) or, with direct
 * server return, the client's again (dsr.h). Called by from_netdev, which knows the
 * sender.
 */
#ifndef SETA_NODEPORT_H
#define SETA_NODEPORT_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "delivery.h"
#include "dsr.h"
#include "host.h"
#include "nat_rewrite.h"
#include "nat_service.h"
#include "packet.h"
#include "parse.h"
#include "service.h"

#undef THIS_FILE
#define THIS_FILE FILE_NODEPORT_H

#define IP4_DONT_FRAGMENT 0x4000

/* A backend in the node's own namespace: the stack has it, to_netdev its answers. */
INLINE int nodeport_to_host(struct pkt *p)
{
	if (host_is_guarded(p->dst_ep))
		TRY(host_gate(p, p->dst_ep, DIR_INGRESS, p->src_id));
	p->dir = DIR_INGRESS;
	p->ct_state = ct_lookup(p, DIR_INGRESS);
	if (p->ct_state == CT_NEW)
		TRY(ct_create(p, DIR_INGRESS));
	return deliver_to_stack(p, OBSERVED_TO_HOST);
}

/* What may not be fragmented must fit the tunnel as it is. The sender is told at the
 * exit, so nothing is rewritten yet.
 */
INLINE int nodeport_fits_tunnel(struct pkt *p)
{
	__be16 frag_off = 0;
	__u32 mtu = 0;

	if (bpf_check_mtu(p->skb, cfg.overlay_ifindex, &mtu, 0, 0) != BPF_MTU_CHK_RET_FRAG_NEEDED)
		return 0;
	bpf_skb_load_bytes(p->skb, ETH_HLEN + offsetof(struct iphdr, frag_off), &frag_off,
			   sizeof(frag_off));
	if (!(frag_off & bpf_htons(IP4_DONT_FRAGMENT)))
		return 0;
	return DROP(p, DROP_IP_FRAGMENTATION_NOT_SUPPORTED);
}

/* As whom the client passes the other node's policy. What only its address would tell is
 * lost with that: it is of the world.
 */
INLINE __u32 nodeport_vouched(__u32 identity)
{
	return identity >> IDENTITY_BITS == IDENTITY_CIDR_SCOPE >> IDENTITY_BITS ?
		IDENTITY_WORLD : identity;
}

INLINE int nodeport_to_node(struct pkt *p, struct service *s)
{
	bool tunnel = cfg.tunnel && p->tunnel_endpoint;
	struct nat4_entry own = {};

	if (tunnel)
		TRY(nodeport_fits_tunnel(p));
	if (!s->dsr)
		TRY(nat_service_find(p, s, &own));
	TRY(nat_rewrite_destination(p, s->backend, s->backend_port));
	if (s->dsr)
		TRY(dsr_announce(p, s));
	else
		TRY(nat_rewrite_source(p, own.to_addr, own.to_port));
	return tunnel ? deliver_encapsulated(p, nodeport_vouched(p->src_id)) : deliver_translated(p);
}

/* Stage, the last: to where find_owner() found the backend. */
INLINE int nodeport_send(struct pkt *p, struct service *s)
{
	p->rev_nat_index = s->rev_nat_index;
	if (!p->dst_ep)
		return nodeport_to_node(p, s);
	TRY(nat_rewrite_destination(p, s->backend, s->backend_port));
	return endpoint_is_pod(p->dst_ep) ? SERVICE_TO_POD : nodeport_to_host(p);
}

/* Stage: the backend of a packet to a frontend, and where that is. */
INLINE int nodeport_choose(struct pkt *p, const struct lb_service *service, struct service *s)
{
	s->front = p->t.daddr.v4;
	s->front_port = p->t.dport;
	if (!lb_source_allowed(service, &p->t.saddr, FAMILY_V4))
		return DROP(p, DROP_LB_SENDER_NOT_IN_SOURCE_RANGES);
	TRY(service_choose(p, service, s));
	TRY(find_owner(p, s->backend));
	if (p->ct_state != CT_NEW)
		return 0;
	s->dsr = !p->dst_ep && p->tunnel_endpoint && dsr_is_wanted(p, s);
	return service_remember(p, s);
}

/* Stage: an answer that came back to this node's address, and has its client's as
 * destination again (NAT_CLIENT), goes to the client in the frontend's name.
 */
INLINE int nodeport_return(struct pkt *p)
{
	p->dir = DIR_SERVICE;
	p->ct_state = p->is_error ? CT_RELATED : CT_REPLY;
	TRY(service_back(p));
	return deliver_translated(p);
}

#endif
