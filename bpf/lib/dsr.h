/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Direct server return, TCP by native routing: the client's packets reach the backend's
 * node as the client sent them, but for the destination, and that node answers the client
 * itself. What it needs to know for that, the frontend, comes with the connection's first
 * packet in an IP option. Called by nodeport.h (balancing node) and from_netdev (the
 * backend's).
 */
#ifndef SETA_DSR_H
#define SETA_DSR_H

#include <linux/if_ether.h>

#include "checksum.h"
#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "lb.h"
#include "packet.h"
#include "parse.h"
#include "service.h"
#include "service_back.h"

#undef THIS_FILE
#define THIS_FILE FILE_DSR_H

/* Experimental by RFC 4727, copied into fragments. */
#define DSR_OPTION_TYPE 0x9e

struct dsr_option {
	__u8 type;
	__u8 len;
	__be16 port;		/* of the frontend */
	__be32 address;
} __attribute__((packed));

struct dsr_header {
	struct iphdr ip;
	struct dsr_option option;
} __attribute__((packed));

#define DSR_WORDS (sizeof(struct dsr_option) / 4)

/* Lengthens or shortens the packet after its IP header of 20 bytes. */
INLINE int dsr_resize(struct pkt *p, int bytes)
{
	if (bpf_skb_adjust_room(p->skb, bytes, BPF_ADJ_ROOM_NET, 0))
		return DROP(p, DROP_ERROR_WRITING_TO_PACKET);
	p->l4_off += bytes;
	return 0;
}

INLINE __sum16 dsr_checksum(struct dsr_header *h, __u32 len)
{
	h->ip.check = 0;
	return csum_of(h, len, 0);
}

INLINE bool dsr_fits(const struct pkt *p)
{
	__u32 mtu = 0;

	return p->l4_off == ETH_HLEN + sizeof(struct iphdr) &&
	       bpf_check_mtu(p->skb, cfg.native_ifindex, &mtu, sizeof(struct dsr_option), 0) ==
		       BPF_MTU_CHK_RET_SUCCESS;
}

/* Whether the backend's node will believe that the frontend is ours (dsr_service()): of the
 * addresses at which this one has node ports it knows the InternalIP.
 */
INLINE bool dsr_is_credible(const struct service *s)
{
	return !(s->flags & LB_NODEPORT) || s->front == cfg.node_ip.v4;
}

/* Whether a new connection of this frontend can be one. Later packets need no option, so
 * only the first has to have room for it.
 */
INLINE bool dsr_is_wanted(const struct pkt *p, const struct service *s)
{
	return !cfg.tunnel && s->flags & LB_DSR && p->t.proto == IPPROTO_TCP &&
	       dsr_is_credible(s) && (!is_pure_syn(p) || dsr_fits(p));
}

/* Stage: the frontend goes with what may be the first packet the backend's node sees. The
 * destination is the backend's already.
 */
COLD int dsr_announce(struct pkt *p, const struct service *s)
{
	struct dsr_header h = { .option = { DSR_OPTION_TYPE, sizeof(h.option), s->front_port,
					    s->front } };

	if ((p->ct_state != CT_NEW && !is_pure_syn(p)) || !dsr_fits(p))
		return 0;
	TRY(dsr_resize(p, sizeof(h.option)));
	if (bpf_skb_load_bytes(p->skb, ETH_HLEN, &h.ip, sizeof(h.ip)))
		return DROP(p, DROP_INVALID_PACKET);
	h.ip.ihl += DSR_WORDS;
	h.ip.tot_len = bpf_htons(bpf_ntohs(h.ip.tot_len) + sizeof(h.option));
	h.ip.check = dsr_checksum(&h, sizeof(h));
	if (bpf_skb_store_bytes(p->skb, ETH_HLEN, &h, sizeof(h), 0))
		return DROP(p, DROP_ERROR_WRITING_TO_PACKET);
	return 0;
}

/* The service that another node balances for: here by the same address, or, where it is
 * that node's own, a node port. Nobody else may choose the address this node answers with.
 */
INLINE struct lb_service *dsr_service(const struct dsr_option *option)
{
	union ip16 ip = { .words = { option->address } };
	struct lb_service *service = service_find(ip.v4, option->port, IPPROTO_TCP,
						  LB_SCOPE_EXTERNAL);

	if (service || !identity_is_node(ipcache_identity(ipcache_find(&ip, FAMILY_V4))))
		return service;
	return service_find(0, option->port, IPPROTO_TCP, LB_SCOPE_EXTERNAL);
}

/* Stage: takes the option out and remembers what it says. Options that are not ours stay. */
COLD int dsr_take(struct pkt *p)
{
	struct lb_service *service;
	union ct_key key = {};
	struct dsr_header h;

	if (p->l4_off != ETH_HLEN + sizeof(h) || p->fragment || p->t.proto != IPPROTO_TCP ||
	    bpf_skb_load_bytes(p->skb, ETH_HLEN, &h, sizeof(h)) ||
	    h.option.type != DSR_OPTION_TYPE || h.option.len != sizeof(h.option))
		return 0;
	service = dsr_service(&h.option);
	if (!service || !(lb_flags(service) & LB_DSR))
		return DROP(p, DROP_INVALID_SOURCE_IP);
	TRY(dsr_resize(p, -(int)sizeof(h.option)));
	h.ip.ihl -= DSR_WORDS;
	h.ip.tot_len = bpf_htons(bpf_ntohs(h.ip.tot_len) - sizeof(h.option));
	h.ip.check = dsr_checksum(&h, sizeof(h.ip));
	if (bpf_skb_store_bytes(p->skb, ETH_HLEN, &h.ip, sizeof(h.ip), 0))
		return DROP(p, DROP_ERROR_WRITING_TO_PACKET);
	ct_key_reverse(&key, &p->t, FAMILY_V4, NAT_FRONT);
	front_remember(&key, h.option.address, h.option.port, service->rev_nat_index);
	p->rev_nat_index = service->rev_nat_index;
	p->new_flags |= CT_FRONT_IN_NAT;
	return 0;
}

/* Stage, for what has IP options. */
INLINE int dsr_option(struct pkt *p)
{
	return p->l4_off > ETH_HLEN + sizeof(struct iphdr) ? dsr_take(p) : 0;
}

#endif
