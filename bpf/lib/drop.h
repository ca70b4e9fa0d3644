/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Why a packet was dropped: the one list. A stage returns the negative of a reason,
 * the exit counts it in cilium_metrics and reports it in cilium_events, and users
 * read it: the agent makes the sentence from the name in the BTF (DROP_POLICY_DENIED
 * is "Policy denied"). The numbers are the field's and are never reused.
 */
#ifndef SETA_DROP_H
#define SETA_DROP_H

enum drop_reason {
	DROP_INVALID_SOURCE_IP = 132,
	DROP_POLICY_DENIED = 133,			/* no rule allows it */
	DROP_INVALID_PACKET = 134,			/* shorter than its headers say */
	DROP_CT_TRUNCATED_OR_INVALID_HEADER = 135,	/* the same, in the L4 header */
	DROP_UNSUPPORTED_L3_PROTOCOL = 139,
	DROP_ERROR_WRITING_TO_PACKET = 141,
	DROP_UNKNOWN_L4_PROTOCOL = 142,
	DROP_ERROR_RETRIEVING_TUNNEL_KEY = 147,
	DROP_NO_MATCHING_LOCAL_CONTAINER_FOUND = 152,
	DROP_CT_MAP_INSERTION_FAILED = 155,
	DROP_INVALID_IPV6_EXTENSION_HEADER = 156,
	DROP_IP_FRAGMENTATION_NOT_SUPPORTED = 157,	/* too long for the tunnel (the sender is told) or,
							 * translated, for the device */
	DROP_SERVICE_BACKEND_NOT_FOUND = 158,		/* the sender is told */
	DROP_NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT = 160,
	DROP_NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION = 165,
	DROP_NO_MAPPING_FOR_NAT_MASQUERADE = 167,	/* every port is taken */
	DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE = 168,
	DROP_FIB_LOOKUP_FAILED = 169,
	DROP_INVALID_IDENTITY = 171,
	DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND = 175,
	DROP_LB_SENDER_NOT_IN_SOURCE_RANGES = 177,
	DROP_POLICY_DENY = 181,				/* a rule denies it */
};

/* Reasons below 130 count things that are not drops. */
enum metric_reason {
	REASON_FORWARDED = 0,
	REASON_EVENT_LOST = 64,		/* cilium_events was full */
};

/* Where a drop was decided: file and line of each drop in an event. */
enum source_file {
	FILE_UNKNOWN = 0,
	FILE_PARSE_H = 1,
	FILE_ARP_H = 2,
	FILE_GATE_H = 3,
	FILE_POLICY_H = 4,
	FILE_CONNTRACK_H = 5,
	FILE_FRAG_H = 6,
	FILE_ICMP_H = 7,
	FILE_NAT_H = 8,
	FILE_DELIVERY_H = 9,
	FILE_NAT_REWRITE_H = 10,
	FILE_TARGET_H = 11,
	FILE_HOST_H = 12,
	FILE_SERVICE_H = 13,
	FILE_NODEPORT_H = 14,
	FILE_SERVICE_BACK_H = 15,
	FILE_REJECT_H = 16,
	FILE_DSR_H = 17,
	FILE_PACKET_LB_H = 18,
	FILE_NAT_PORT_H = 19,
	FILE_NAT_SERVICE_H = 20,
	FILE_FROM_CONTAINER_BPF_C = 32,
	FILE_TO_CONTAINER_BPF_C = 33,
	FILE_FROM_NETDEV_BPF_C = 34,
	FILE_TO_NETDEV_BPF_C = 35,
	FILE_FROM_OVERLAY_BPF_C = 36,
	FILE_TO_OVERLAY_BPF_C = 37,
};

#endif
