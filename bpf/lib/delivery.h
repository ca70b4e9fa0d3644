/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a packet goes, once it may: into a local pod, to another node by tunnel or
 * route, or to the node's own stack. The tc action is the stage's result; what was
 * decided stands in p->observation, and so in the trace event.
 */
#ifndef SETA_DELIVERY_H
#define SETA_DELIVERY_H

#include <linux/if_ether.h>

#include "common.h"
#include "config.h"
#include "eps.h"
#include "events.h"
#include "gate.h"
#include "host.h"
#include "ipcache.h"

#undef THIS_FILE
#define THIS_FILE FILE_DELIVERY_H

/* Tells to_overlay that the tunnel key is set; removed there before encapsulation. */
#define MARK_TUNNEL_KEY_SET 0x0a00

/* Tells to_netdev that a service's packet is on its way out, translated already and
 * nobody's of this node; removed there.
 */
#define MARK_SERVICE 0x0b00

/* Who has an address. The hash of local endpoints is asked before the LPM of everybody. */
INLINE int find_owner(struct pkt *p, __be32 addr)
{
	union ip16 ip = { .words = { addr } };	/* all of it: hashed as a key */
	struct remote_endpoint_info *info;

	p->dst_ep = endpoint_find(&ip, FAMILY_V4);
	if (p->dst_ep) {
		p->dst_id = endpoint_is_pod(p->dst_ep) ? p->dst_ep->sec_id : IDENTITY_HOST;
		return 0;
	}
	info = ipcache_find(&ip, FAMILY_V4);
	p->dst_id = ipcache_identity(info);
	p->tunnel_endpoint = info ? info->tunnel_endpoint.v4 : 0;
	return 0;
}

/* Stage: the target and its identity. */
INLINE int find_destination(struct pkt *p)
{
	return find_owner(p, p->t.daddr.v4);
}

INLINE void swap_macs(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	memcpy(mac, eth->h_dest, ETH_ALEN);
	memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	memcpy(eth->h_source, mac, ETH_ALEN);
}

INLINE int set_macs(struct pkt *p, const void *dst, const void *src)
{
	__u8 macs[2 * ETH_ALEN];

	memcpy(macs, dst, ETH_ALEN);
	memcpy(macs + ETH_ALEN, src, ETH_ALEN);
	if (bpf_skb_store_bytes(p->skb, 0, macs, sizeof(macs), 0))
		return DROP(p, DROP_ERROR_WRITING_TO_PACKET);
	return 0;
}

/* Straight into the pod's namespace. */
INLINE int deliver_into(struct pkt *p, const struct endpoint_info *ep)
{
	p->observation = OBSERVED_TO_ENDPOINT;
	TRY(set_macs(p, &ep->mac, &ep->node_mac));
	return bpf_redirect_peer(ep->ifindex, 0);
}

/* Through the target's ingress gate. */
INLINE int deliver_local(struct pkt *p)
{
	struct endpoint_info *ep = p->dst_ep;

	p->observation = OBSERVED_TO_ENDPOINT;
	TRY(gate(p, ep, DIR_INGRESS, p->src_id));
	return deliver_into(p, ep);
}

INLINE int deliver_to_stack(struct pkt *p, __u8 observation)
{
	p->observation = observation;
	return TC_ACT_OK;
}

/* A pod's answer is one for the node, too. */
INLINE int deliver_to_host(struct pkt *p)
{
	bool answer = p->ct_state == CT_REPLY || p->ct_state == CT_RELATED;

	if (host_is_guarded(p->dst_ep) && !answer)
		TRY(host_gate(p, p->dst_ep, DIR_INGRESS, p->src_id));
	return deliver_to_stack(p, OBSERVED_TO_HOST);
}

/* A VNI has 24 bits: greater identities are those of addresses that every node knows
 * itself, and it looks them up where the key says only "another node".
 */
INLINE int set_tunnel_key(struct pkt *p, __u32 identity, __be32 node)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = identity >> IDENTITY_BITS ? IDENTITY_REMOTE_NODE : identity,
		.remote_ipv4 = bpf_ntohl(node),		/* the helper wants host order */
		.tunnel_ttl = 64,
	};

	if (bpf_skb_set_tunnel_key(p->skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return DROP(p, DROP_ERROR_WRITING_TO_PACKET);
	return 0;
}

INLINE int deliver_encapsulated(struct pkt *p, __u32 identity)
{
	TRY(set_tunnel_key(p, identity, p->tunnel_endpoint));
	p->observation = OBSERVED_TO_OVERLAY;
	p->skb->mark = MARK_TUNNEL_KEY_SET;
	return bpf_redirect(cfg.overlay_ifindex, 0);
}

/* Too long for the overlay: the stack answers "fragmentation needed" or fragments. */
INLINE int deliver_overlay(struct pkt *p)
{
	__u32 mtu = 0;

	if (bpf_check_mtu(p->skb, cfg.overlay_ifindex, &mtu, 0, 0) == BPF_MTU_CHK_RET_FRAG_NEEDED)
		return deliver_to_stack(p, OBSERVED_TO_STACK);
	return deliver_encapsulated(p, p->src_id);
}

/* Whether a packet may be the first of its way. Such ones are left to the kernel's
 * neighbour, which then asks again for a MAC it has not heard of for long; a lookup does
 * not make it, and who has another one by now would never be found.
 */
INLINE bool may_open(const struct pkt *p)
{
	return p->t.proto != IPPROTO_TCP || p->tcp_flags & TCP_SYN;
}

/* By the node's routing table, without its stack. tot_len stays 0: the helper then
 * measures the packet against the device and knows about segmentation offload.
 * NOT_ROUTED: what it cannot do (no route, forwarding off), and TOO_LONG for the device.
 */
#define NOT_ROUTED 0x100
#define TOO_LONG 0x101

INLINE int route(struct pkt *p)
{
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.l4_protocol = p->t.proto,
		.ifindex = p->skb->ifindex,
		.ipv4_src = p->t.saddr.v4,
		.ipv4_dst = p->t.daddr.v4,
	};
	long rc = bpf_fib_lookup(p->skb, &fib, sizeof(fib), 0);

	if (rc < 0)
		return DROP(p, DROP_FIB_LOOKUP_FAILED);
	p->observation = OBSERVED_TO_NETWORK;
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH)
		return rc == BPF_FIB_LKUP_RET_FRAG_NEEDED ? TOO_LONG : NOT_ROUTED;
	if (rc == BPF_FIB_LKUP_RET_NO_NEIGH || may_open(p))
		return bpf_redirect_neigh(fib.ifindex, NULL, 0, 0);
	TRY(set_macs(p, fib.dmac, fib.smac));
	return bpf_redirect(fib.ifindex, 0);
}

INLINE int deliver_native(struct pkt *p)
{
	int rc = route(p);

	return rc >= NOT_ROUTED ? deliver_to_stack(p, OBSERVED_TO_STACK) : rc;
}

/* A service's packet, with an address of the node's or of nobody's as its source: the
 * stack would take it for a forgery, so there is no other way than this. Nobody is told
 * that it is too long: it is not any more what its sender sent.
 */
COLD int deliver_translated(struct pkt *p)
{
	int rc;

	p->skb->mark = MARK_SERVICE;
	rc = route(p);
	if (rc != TOO_LONG)
		return rc == NOT_ROUTED ? DROP(p, DROP_FIB_LOOKUP_FAILED) : rc;
	p->silent = true;
	return DROP(p, DROP_IP_FRAGMENTATION_NOT_SUPPORTED);
}

/* Stage, the last of from_container. */
INLINE int deliver(struct pkt *p)
{
	if (endpoint_is_pod(p->dst_ep))
		return deliver_local(p);
	if (p->dst_ep)
		return deliver_to_host(p);
	if (p->answer_of)
		return deliver_translated(p);
	if (!p->tunnel_endpoint)
		return deliver_to_stack(p, OBSERVED_TO_STACK);
	return cfg.tunnel ? deliver_overlay(p) : deliver_native(p);
}

#endif
