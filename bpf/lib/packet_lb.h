/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services packet by packet, for pods whose sockets are left alone: where a proxy beside
 * the application has to see the service's address, and for SCTP, which has no socket
 * hook. Called by from_container before the egress gate, which then judges the backend;
 * the answers get the frontend's address back where the pod's ingress gate lets them in.
 */
#ifndef SETA_PACKET_LB_H
#define SETA_PACKET_LB_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "delivery.h"
#include "eps.h"
#include "ipcache.h"
#include "nat_rewrite.h"
#include "packet.h"
#include "service.h"
#include "service_back.h"

#undef THIS_FILE
#define THIS_FILE FILE_PACKET_LB_H

INLINE bool packet_lb_is_due(const struct pkt *p)
{
	return p->src_ep->flags & ENDPOINT_PACKET_LB || p->t.proto == IPPROTO_SCTP;
}

/* The node port of another node is served here: every node has the same ones, under the
 * address of nobody.
 */
INLINE struct lb_service *packet_lb_elsewhere(const struct pkt *p)
{
	__u16 port = bpf_ntohs(p->t.dport);

	if (port < cfg.nodeport_min || port > cfg.nodeport_max ||
	    !identity_is_node(ipcache_identity(ipcache_find(&p->t.daddr, FAMILY_V4))))
		return NULL;
	return service_find(0, p->t.dport, p->t.proto, LB_SCOPE_INTERNAL);
}

/* Its index says nothing of which node was asked. */
COLD int packet_lb_remember(struct pkt *p, const struct service *s)
{
	__be32 client = s->backend == p->t.saddr.v4 ? cfg.loopback_ip4 : p->t.saddr.v4;
	union ct_key key = {};

	key.v4 = (struct ct4_tuple){ client, s->backend, p->t.sport,
				     s->backend_port, p->t.proto, NAT_FRONT };
	front_remember(&key, p->t.daddr.v4, p->t.dport, s->rev_nat_index);
	p->new_flags |= CT_FRONT_IN_NAT;
	return 0;
}

INLINE int packet_lb_choose(struct pkt *p, struct service *s)
{
	struct lb_service *service;

	service = service_find(p->t.daddr.v4, p->t.dport, p->t.proto, LB_SCOPE_INTERNAL);
	s->front = service ? p->t.daddr.v4 : 0;
	s->front_port = p->t.dport;
	if (!service)
		service = packet_lb_elsewhere(p);
	if (!service)
		return SERVICE_NONE;
	TRY(service_choose(p, service, s));
	if (p->ct_state == CT_NEW)
		TRY(service_remember(p, s));
	if (!s->front)
		packet_lb_remember(p, s);
	p->rev_nat_index = s->rev_nat_index;
	return 0;
}

/* Stage: what is for a frontend, or an ICMP error about one's answer, is for a backend. */
COLD int packet_lb(struct pkt *p)
{
	struct service *s = service_new(LB_SCOPE_INTERNAL);

	if (!s || (p->is_error ? !service_of_error(p, s) : !service_may_be(p)))
		return 0;
	if (!p->is_error && TRY(packet_lb_choose(p, s)) == SERVICE_NONE)
		return 0;
	return nat_rewrite_destination(p, s->backend, s->backend_port);
}

/* Stage, and the last for a pod that its service sends to itself. With its own address as
 * the source it would answer without us, so it sees another one. No policy is asked.
 */
COLD int packet_lb_to_itself(struct pkt *p)
{
	struct tuple *t = p->is_error ? &p->inner : &p->t;

	TRY(nat_rewrite_source(p, cfg.loopback_ip4, t->sport));
	p->dst_ep = p->src_ep;
	p->dst_id = p->src_id;
	p->dir = DIR_INGRESS;
	p->ct_state = ct_lookup(p, DIR_INGRESS);
	if (p->ct_state == CT_NEW)
		TRY(ct_create(p, DIR_INGRESS));
	return deliver_into(p, p->src_ep);
}

/* Stage: its answer, which the gate knows and has given the frontend's address; `own` was
 * the address before.
 */
COLD int packet_lb_answer_itself(struct pkt *p, __be32 own)
{
	struct tuple *t = p->is_error ? &p->inner : &p->t;

	TRY(nat_rewrite_destination(p, own, t->dport));
	if (!p->is_error)
		service_touch(p);	/* service_back() knew it by another address */
	p->dst_ep = p->src_ep;
	p->dst_id = p->src_id;
	return deliver_into(p, p->src_ep);
}

#endif
