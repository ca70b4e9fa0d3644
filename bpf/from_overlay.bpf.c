// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What other nodes send through the tunnel. On the VXLAN device, ingress; the
 * sender's identity is the VNI. The packet's way:
 *
 *   tunnel key -> network header -> sender -> target (the node itself: an answer to a
 *   service's client goes there; else its own gate, then the stack) -> L4 header
 *   -> fragment's ports -> ICMP error's connection -> delivery (conntrack and ingress
 *   policy of the target)
 */
#include <linux/if_packet.h>

#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/host.h"
#include "lib/icmp.h"
#include "lib/nat.h"
#include "lib/nodeport.h"
#include "lib/parse.h"
#include "lib/target.h"

#undef THIS_FILE
#define THIS_FILE FILE_FROM_OVERLAY_BPF_C

/* Stage: the identity another node vouches for. It cannot vouch for being this node. */
INLINE int read_tunnel_key(struct pkt *p)
{
	struct bpf_tunnel_key key = {};

	if (bpf_skb_get_tunnel_key(p->skb, &key, sizeof(key), 0))
		return DROP(p, DROP_ERROR_RETRIEVING_TUNNEL_KEY);
	p->src_id = key.tunnel_id;
	if (p->src_id == IDENTITY_UNKNOWN || p->src_id == IDENTITY_HOST)
		return DROP(p, DROP_INVALID_IDENTITY);
	return 0;
}

/* Stage: who sent it. "Another node" also stands for whom the VNI is too short for; by
 * address they are known here.
 */
INLINE int find_sender(struct pkt *p)
{
	if (p->src_id != IDENTITY_REMOTE_NODE)
		return 0;
	p->src_id = ipcache_identity(ipcache_find(&p->t.saddr, p->family));
	return p->src_id == IDENTITY_HOST ? DROP(p, DROP_INVALID_SOURCE_IP) : 0;
}

/* Stage: the inner Ethernet address was the other node's. */
INLINE int accept_as_own(struct pkt *p)
{
	bpf_skb_change_type(p->skb, PACKET_HOST);
	return 0;
}

/* Stage: whether it is an answer to the client of a service, whom it has as destination
 * then: NAT_CLIENT.
 */
INLINE int find_client(struct pkt *p)
{
	if (p->t.daddr.v4 != cfg.node_ip.v4 || parse_l4(p) < 0 || frag_ports(p) < 0 ||
	    icmp_inner(p) < 0)
		return NAT_NOBODY;
	return nat_unmasquerade(p);
}

INLINE int receive_for_host(struct pkt *p)
{
	if (TRY(find_client(p)) == NAT_CLIENT)
		return nodeport_return(p);
	if (host_is_guarded(p->dst_ep)) {
		TRY(host_parse(p));
		TRY(host_gate(p, p->dst_ep, DIR_INGRESS, p->src_id));
	}
	return deliver_to_stack(p, OBSERVED_TO_HOST);
}

INLINE int receive(struct pkt *p)
{
	TRY(read_tunnel_key(p));
	TRY(parse_l2(p));
	TRY(parse_l3(p));
	if (p->family == FAMILY_V6)
		return ip6_link_only(p);
	TRY(find_sender(p));
	TRY(accept_as_own(p));
	TRY(find_target(p));
	if (!endpoint_is_pod(p->dst_ep))
		return receive_for_host(p);
	TRY(parse_l4(p));
	TRY(frag_ports(p));
	TRY(icmp_inner(p));
	return deliver_local(p);
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_INGRESS, .observation = OBSERVED_FROM_OVERLAY,
			 .new_flags = CT_FROM_TUNNEL };

	return leave(&p, receive(&p));
}

char _license[] SEC("license") = "Dual BSD/GPL";
