/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ARP of a pod: whatever neighbour it asks for is the host end of its veth. That end
 * has no address, so the kernel would not answer. Called by from_container.
 */
#ifndef SETA_ARP_H
#define SETA_ARP_H

#include <linux/if_ether.h>

#include "common.h"
#include "eps.h"
#include "packet.h"
#include "parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_ARP_H

/* <linux/if_arp.h> drags in libc headers that do not exist for this target. */
#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

struct arp_ether_ip4 {
	__be16 ar_hrd;
	__be16 ar_pro;
	__u8 ar_hln;
	__u8 ar_pln;
	__be16 ar_op;
	__u8 ar_sha[ETH_ALEN];
	__be32 ar_sip;
	__u8 ar_tha[ETH_ALEN];
	__be32 ar_tip;
} __attribute__((packed));

struct arp_frame {
	__u8 dst[ETH_ALEN];
	__u8 src[ETH_ALEN];
	__be16 proto;
	struct arp_ether_ip4 arp;
} __attribute__((packed));

INLINE bool arp_is_ether_ip4(const struct arp_ether_ip4 *arp)
{
	return arp->ar_hrd == bpf_htons(ARPHRD_ETHER) && arp->ar_pro == bpf_htons(ETH_P_IP) &&
	       arp->ar_hln == ETH_ALEN && arp->ar_pln == sizeof(__be32);
}

INLINE void arp_make_reply(struct arp_frame *frame, __u64 node_mac)
{
	struct arp_ether_ip4 *arp = &frame->arp;
	__be32 asked = arp->ar_tip;

	memcpy(frame->dst, arp->ar_sha, ETH_ALEN);
	memcpy(frame->src, &node_mac, ETH_ALEN);
	arp->ar_op = bpf_htons(ARPOP_REPLY);
	memcpy(arp->ar_tha, arp->ar_sha, ETH_ALEN);
	memcpy(arp->ar_sha, &node_mac, ETH_ALEN);
	arp->ar_tip = arp->ar_sip;
	arp->ar_sip = asked;
}

/* Stage, and the last one for ARP: answers a request out of the device it came in
 * by; a pod's answer to the node goes to the stack.
 */
COLD int arp_answer(struct pkt *p)
{
	struct arp_frame *seen = header_at(p, 0, sizeof(*seen));
	struct endpoint_info *ep;
	struct arp_frame frame;

	if (!seen || !arp_is_ether_ip4(&seen->arp))
		return DROP(p, DROP_INVALID_PACKET);
	frame = *seen;
	p->t.saddr.v4 = frame.arp.ar_sip;
	p->t.daddr.v4 = frame.arp.ar_tip;
	ep = endpoint_find(&p->t.saddr, FAMILY_V4);
	if (!endpoint_is_pod(ep) || ep->ifindex != p->skb->ifindex)
		return DROP(p, DROP_INVALID_SOURCE_IP);
	p->src_id = ep->sec_id;
	p->ep_id = ep->lxc_id;
	if (frame.arp.ar_op != bpf_htons(ARPOP_REQUEST))
		return TC_ACT_OK;
	if (frame.arp.ar_tip == frame.arp.ar_sip)	/* announces itself: no answer due */
		return TC_ACT_OK;
	arp_make_reply(&frame, ep->node_mac);
	if (bpf_skb_store_bytes(p->skb, 0, &frame, sizeof(frame), 0))
		return DROP(p, DROP_ERROR_WRITING_TO_PACKET);
	return bpf_redirect(p->skb->ifindex, 0);
}

#endif
