// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a pod sends. At the host end of its veth, ingress. The packet's way:
 *
 *   headers -> (ARP: answered here) -> is the source this pod's? -> fragment's ports
 *   -> ICMP error's connection -> (sockets left alone: a service's address becomes a
 *   backend's) -> target -> conntrack and egress policy (a backend's answer gets the
 *   service's address) -> delivery (same node: also the target's conntrack and ingress
 *   policy)
 */
#include "lib/arp.h"
#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/gate.h"
#include "lib/icmp.h"
#include "lib/packet_lb.h"
#include "lib/parse.h"
#include "lib/reject.h"

#undef THIS_FILE
#define THIS_FILE FILE_FROM_CONTAINER_BPF_C

/* Stage: a pod speaks with its own address, from its own device. */
INLINE int find_source(struct pkt *p)
{
	p->src_ep = endpoint_find(&p->t.saddr, p->family);
	if (!endpoint_is_pod(p->src_ep) || p->src_ep->ifindex != p->skb->ifindex)
		return DROP(p, DROP_INVALID_SOURCE_IP);
	p->src_id = p->src_ep->sec_id;
	p->ep_id = p->src_ep->lxc_id;
	return 0;
}

/* Who asked through the tunnel under its node's address is answered through it: only there
 * does that node look for clients of services.
 */
INLINE void answer_by_tunnel(struct pkt *p)
{
	if (cfg.tunnel && p->ct_flags & CT_FROM_TUNNEL && !p->dst_ep && !p->tunnel_endpoint &&
	    identity_is_node(p->dst_id))
		p->tunnel_endpoint = p->t.daddr.v4;
}

INLINE int forward(struct pkt *p)
{
	__be32 own;

	TRY(parse_l2(p));
	if (p->ethertype == ETH_P_ARP)
		return arp_answer(p);
	TRY(parse_l3(p));
	if (p->family == FAMILY_V6)
		return ip6_link_only(p);
	TRY(find_source(p));
	TRY(parse_l4(p));
	TRY(frag_ports(p));
	TRY(icmp_inner(p));
	if (packet_lb_is_due(p))
		TRY(packet_lb(p));
	own = p->t.saddr.v4;
	if (p->t.daddr.v4 == own)
		return packet_lb_to_itself(p);
	TRY(find_destination(p));
	TRY(gate(p, p->src_ep, DIR_EGRESS, p->dst_id));
	if (p->answer_of && p->t.daddr.v4 == cfg.loopback_ip4)
		return packet_lb_answer_itself(p, own);
	p->rev_nat_index = 0;
	p->new_flags = 0;
	answer_by_tunnel(p);
	return deliver(p);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_EGRESS, .observation = OBSERVED_FROM_ENDPOINT };

	return leave_or_reject(&p, forward(&p));
}

char _license[] SEC("license") = "Dual BSD/GPL";
