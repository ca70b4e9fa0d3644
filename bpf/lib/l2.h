/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses of services announced on the LAN: whoever asks for one that this node
 * holds gets the device's own MAC, while the agent's lease lasts. Called by
 * from_netdev; the agent writes all maps here.
 *
 * The deadline stands in a map, so that answers end in time also where the agent is
 * dead, frozen or cut off: another node may only start after it has passed.
 */
#ifndef SETA_L2_H
#define SETA_L2_H

#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/ipv6.h>

#include "arp.h"
#include "checksum.h"
#include "common.h"
#include "icmp.h"
#include "packet.h"
#include "parse.h"

#define L2_RESPONDER_MAX 32768

struct l2_responder_v4_key {
	__be32 ip4;
	__u32 ifindex;
};

struct l2_responder_v6_key {
	union ip16 ip6;
	__u32 ifindex;
	__u32 pad;
};

struct l2_responder_stats {
	__u64 responses_sent;
};

struct l2_device {
	__u8 mac[ETH_ALEN];
	__u8 pad[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, L2_RESPONDER_MAX);
	__type(key, struct l2_responder_v4_key);
	__type(value, struct l2_responder_stats);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_l2_responder_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, L2_RESPONDER_MAX);
	__type(key, struct l2_responder_v6_key);
	__type(value, struct l2_responder_stats);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_l2_responder_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);			/* ifindex */
	__type(value, struct l2_device);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} seta_l2_devices SEC(".maps");

/* [0]: ns, CLOCK_BOOTTIME, until which answers may be given. Not CLOCK_MONOTONIC: a
 * node that slept must not go on with a lease that ended meanwhile.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} seta_l2_deadline SEC(".maps");

INLINE bool l2_may_answer(void)
{
	__u64 *deadline = bpf_map_lookup_elem(&seta_l2_deadline, &(__u32){ 0 });

	return deadline && bpf_ktime_get_boot_ns() < *deadline;
}

INLINE int l2_send_back(struct pkt *p, struct l2_responder_stats *stats, const void *frame,
			__u32 len)
{
	if (bpf_skb_store_bytes(p->skb, 0, frame, len, 0))
		return TC_ACT_OK;
	__sync_fetch_and_add(&stats->responses_sent, 1);
	return bpf_redirect(p->skb->ifindex, 0);
}

COLD int l2_answer_arp(struct pkt *p)
{
	struct l2_responder_v4_key key = { .ifindex = p->skb->ifindex };
	struct arp_frame *seen = header_at(p, 0, sizeof(*seen));
	struct l2_responder_stats *stats;
	struct l2_device *device;
	struct arp_frame frame;
	__u64 mac = 0;

	if (!seen || !arp_is_ether_ip4(&seen->arp))
		return TC_ACT_OK;
	frame = *seen;
	/* Who asks for the address it claims to have announces itself. */
	if (frame.arp.ar_op != bpf_htons(ARPOP_REQUEST) || frame.arp.ar_tip == frame.arp.ar_sip)
		return TC_ACT_OK;
	key.ip4 = frame.arp.ar_tip;
	stats = bpf_map_lookup_elem(&cilium_l2_responder_v4, &key);
	device = bpf_map_lookup_elem(&seta_l2_devices, &key.ifindex);
	if (!stats || !device || !l2_may_answer())
		return TC_ACT_OK;
	memcpy(&mac, device->mac, ETH_ALEN);
	arp_make_reply(&frame, mac);
	return l2_send_back(p, stats, &frame, sizeof(frame));
}

#define ND_HOP_LIMIT 255	/* whatever came through a router has less */
#define ND_TARGET_LL_ADDR 2

struct nd_message {
	struct icmp6hdr icmp;
	union ip16 target;
} __attribute__((packed));

struct nd_advertisement {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd_message nd;
	__u8 option;
	__u8 option_words;		/* of 8 bytes */
	__u8 mac[ETH_ALEN];
} __attribute__((packed));

struct nd_pseudo_header {
	union ip16 saddr;
	union ip16 daddr;
	__be32 len;
	__be32 next;
};

#define ND_BODY (sizeof(struct nd_advertisement) - sizeof(struct ethhdr) - sizeof(struct ipv6hdr))

INLINE __sum16 nd_checksum(struct nd_advertisement *na)
{
	struct nd_pseudo_header pseudo = { .len = bpf_htonl(ND_BODY),
					   .next = bpf_htonl(IPPROTO_ICMPV6) };

	memcpy(&pseudo.saddr, &na->ip.saddr, sizeof(pseudo.saddr));
	memcpy(&pseudo.daddr, &na->ip.daddr, sizeof(pseudo.daddr));
	return csum_of(&na->nd, ND_BODY,
		       bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0));
}

/* To who asked; or to all nodes of the link where who asked has no address yet and
 * only wants to know whether this one is free (RFC 4861, 7.2.4).
 */
INLINE void nd_address_reply(struct nd_advertisement *na, const struct ethhdr *eth,
			     const struct ipv6hdr *ip)
{
	/* Words: a constant in a section of its own has no BTF that libbpf could load. */
	union ip16 all_nodes = { .words = { bpf_htonl(0xff020000), 0, 0, bpf_htonl(1) } };
	static const __u8 all_nodes_mac[ETH_ALEN] = { 0x33, 0x33, 0, 0, 0, 1 };
	union ip16 asker;

	memcpy(&asker, &ip->saddr, sizeof(asker));
	memcpy(na->eth.h_source, na->mac, ETH_ALEN);
	if (ip16_is_zero(&asker)) {
		memcpy(na->eth.h_dest, all_nodes_mac, ETH_ALEN);
		memcpy(&na->ip.daddr, &all_nodes, sizeof(all_nodes));
	} else {
		memcpy(na->eth.h_dest, eth->h_source, ETH_ALEN);
		memcpy(&na->ip.daddr, &ip->saddr, sizeof(asker));
		na->nd.icmp.icmp6_solicited = 1;
	}
}

/* The target that a neighbour solicitation asks for, or NULL where it is none. */
INLINE struct nd_message *nd_solicitation(struct pkt *p)
{
	struct ipv6hdr *ip = header_at(p, ETH_HLEN, sizeof(*ip) + sizeof(struct nd_message));
	struct nd_message *nd;

	if (!ip || ip->version != 6 || ip->nexthdr != IPPROTO_ICMPV6 ||
	    ip->hop_limit != ND_HOP_LIMIT || bpf_ntohs(ip->payload_len) < sizeof(*nd))
		return NULL;
	nd = (struct nd_message *)(ip + 1);
	return nd->icmp.icmp6_type == ICMPV6_NS && !nd->icmp.icmp6_code ? nd : NULL;
}

COLD int l2_answer_nd(struct pkt *p)
{
	struct l2_responder_v6_key key = { .ifindex = p->skb->ifindex };
	struct nd_advertisement na = {};
	struct l2_responder_stats *stats;
	struct l2_device *device;
	struct nd_message *nd = nd_solicitation(p);
	struct ethhdr *eth;

	if (!nd)
		return TC_ACT_OK;
	key.ip6 = nd->target;
	stats = bpf_map_lookup_elem(&cilium_l2_responder_v6, &key);
	device = bpf_map_lookup_elem(&seta_l2_devices, &key.ifindex);
	if (!stats || !device || !l2_may_answer())
		return TC_ACT_OK;
	na.nd.icmp.icmp6_type = ICMPV6_NA;
	na.nd.icmp.icmp6_override = 1;
	na.nd.target = key.ip6;
	na.option = ND_TARGET_LL_ADDR;
	na.option_words = 1;
	memcpy(na.mac, device->mac, ETH_ALEN);
	na.eth.h_proto = bpf_htons(ETH_P_IPV6);
	na.ip.version = 6;
	na.ip.payload_len = bpf_htons(ND_BODY);
	na.ip.nexthdr = IPPROTO_ICMPV6;
	na.ip.hop_limit = ND_HOP_LIMIT;
	memcpy(&na.ip.saddr, &key.ip6, sizeof(key.ip6));
	eth = header_at(p, 0, ETH_HLEN + sizeof(struct ipv6hdr));
	if (!eth)
		return TC_ACT_OK;
	nd_address_reply(&na, eth, (struct ipv6hdr *)(eth + 1));
	na.nd.icmp.icmp6_cksum = nd_checksum(&na);
	if (bpf_skb_change_tail(p->skb, sizeof(na), 0))
		return TC_ACT_OK;
	return l2_send_back(p, stats, &na, sizeof(na));
}

/* Stage, before any other, for what is not IPv4: a tc action. What is not asked for
 * an address of ours goes on as it came, malformed or not.
 */
INLINE int l2_answer(struct pkt *p)
{
	if (p->ethertype == ETH_P_ARP)
		return l2_answer_arp(p);
	return p->ethertype == ETH_P_IPV6 ? l2_answer_nd(p) : TC_ACT_OK;
}

#endif
