// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the node's stack sends to a pod. At the host end of its veth, egress. Packets
 * from other pods do not come here (redirect_peer). The packet's way:
 *
 *   headers -> target (this device's pod) -> source's identity -> fragment's ports
 *   -> ICMP error's connection -> conntrack and ingress policy
 */
#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/gate.h"
#include "lib/icmp.h"
#include "lib/parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_TO_CONTAINER_BPF_C

/* Stage: the pod behind this device has the packet's address. */
INLINE int find_target(struct pkt *p)
{
	p->dst_ep = endpoint_find(&p->t.daddr, p->family);
	if (!endpoint_is_pod(p->dst_ep) || p->dst_ep->ifindex != p->skb->ifindex)
		return DROP(p, DROP_NO_MATCHING_LOCAL_CONTAINER_FOUND);
	p->dst_id = p->dst_ep->sec_id;
	p->ep_id = p->dst_ep->lxc_id;
	return 0;
}

/* Stage: who sent it. The stack has already refused foreign packets that carry one
 * of the node's own addresses.
 */
INLINE int find_sender(struct pkt *p)
{
	p->src_ep = endpoint_find(&p->t.saddr, p->family);
	if (!p->src_ep)
		p->src_id = ipcache_identity(ipcache_find(&p->t.saddr, p->family));
	else
		p->src_id = endpoint_is_pod(p->src_ep) ? p->src_ep->sec_id : IDENTITY_HOST;
	return 0;
}

INLINE int admit(struct pkt *p)
{
	TRY(parse_l2(p));
	if (p->ethertype == ETH_P_ARP)
		return TC_ACT_OK;
	TRY(parse_l3(p));
	if (p->family == FAMILY_V6)
		return ip6_link_only(p);
	TRY(find_target(p));
	TRY(find_sender(p));
	TRY(parse_l4(p));
	TRY(frag_ports(p));
	TRY(icmp_inner(p));
	TRY(gate(p, p->dst_ep, DIR_INGRESS, p->src_id));
	p->observation = OBSERVED_TO_ENDPOINT;
	return TC_ACT_OK;
}

SEC("tc")
int to_container(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_INGRESS, .observation = OBSERVED_FROM_STACK };

	return leave(&p, admit(&p));
}

char _license[] SEC("license") = "Dual BSD/GPL";
