/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The packet context: made by each entry function, handed through all stages.
 * A stage returns >= 0 to go on, or DROP(p, reason). Each field says who sets it
 * and until when it holds.
 */
#ifndef SETA_PACKET_H
#define SETA_PACKET_H

#include "common.h"
#include "drop.h"
#include "metrics.h"

/* One direction of a connection. ICMP requests have their identifier in place of the
 * asker's port and 0 as the other, so that an answer is the reversed tuple.
 */
struct tuple {
	union ip16 saddr;
	union ip16 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,	/* no L4 header: frag_ports() recalls the ports */
};

enum tcp_flag {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

struct endpoint_info;
struct ct_entry;

struct pkt {
	struct __sk_buff *skb;			/* entry; always */
	struct endpoint_info *src_ep;		/* local sender, or NULL; find_source() or
						 * find_sender() of each program */
	struct endpoint_info *dst_ep;		/* local target, or NULL; find_destination()
						 * or find_target() */
	struct ct_entry *ct;			/* ct_lookup(): the packet's connection in
						 * either direction, or NULL */
	__u32 len;				/* parse_l2(): bytes, with the Ethernet header */
	__u32 family;				/* parse_l3() */
	__u32 src_id;				/* identity; with src_ep, or from the VNI */
	struct tuple t;				/* parse; nat rewrites it with the packet */
	struct tuple inner;			/* icmp_inner(), if is_error: the tuple the
						 * error's receiver would see as a packet of
						 * the connection it speaks of */
	__u32 dst_id;				/* identity; with dst_ep */
	__be32 tunnel_endpoint;			/* find_destination(): node of a remote pod */
	__u32 cookie;				/* policy: the entry that decided */
	__u32 now;				/* ct_lookup(): seconds, CLOCK_MONOTONIC */
	__u32 ct_flags;				/* ct_lookup(): those of its entry, or 0 */
	__u32 new_flags;			/* before a gate: enum ct_entry_flag, for the entry
						 * that it may make */
	__be16 rev_nat_index;			/* service_choose(), until the gate that remembers
						 * it: the frontend that was replaced, or 0 */
	__be16 answer_of;			/* ct_lookup(): the frontend in whose place the
						 * sender answers, or 0 */
	__u16 ethertype;			/* parse_l2(), host order */
	__u16 l4_off;				/* parse_l3(); from the Ethernet header */
	__u16 l4_len;				/* parse_l3(); as the IP header says */
	__u16 ep_id;				/* gate(): whose policy and conntrack */
	__u16 line;				/* DROP(): where */
	__be16 frag_id;				/* parse_l3(), if fragment */
	__u16 inner_l4_off;			/* icmp_inner(), if is_error */
	__u8 file;				/* DROP(): enum source_file */
	__u8 fragment;				/* parse_l3(): enum fragment */
	__u8 overlaps;				/* parse_l3(): a fragment over the L4 header */
	__u8 tcp_flags;				/* parse_l4() */
	__u8 icmp_type;				/* parse_l4() */
	__u8 icmp_code;
	__u8 is_error;				/* icmp_inner() */
	__u8 dir;				/* entry, then gate(): enum direction */
	__u8 ct_state;				/* gate(): enum ct_state */
	__u8 is_new;				/* gate(): any gate saw a new connection */
	__u8 match;				/* policy: enum policy_match */
	__u8 observation;			/* delivery: enum observation_point */
	__u8 silent;				/* service_choose(), deliver_translated(): its drop is
						 * told to nobody */
};

/* Stages end with `return DROP(p, DROP_...)`; each file names itself once. */
#define DROP(p, reason) ({ (p)->line = __LINE__; (p)->file = THIS_FILE; -(int)(reason); })

/* Run a stage; leave the function with its reason if it drops. */
#define TRY(stage) ({ int try_rc = (stage); if (try_rc < 0) return try_rc; try_rc; })

INLINE bool is_pure_syn(const struct pkt *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

#endif
