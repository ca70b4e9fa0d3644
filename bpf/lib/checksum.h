/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The checksum of IP, TCP, UDP and ICMP (RFC 1071) where the datapath builds headers of
 * its own. What a translation changes is nat_rewrite.h's, by the kernel's helpers.
 */
#ifndef SETA_CHECKSUM_H
#define SETA_CHECKSUM_H

#include "common.h"

/* A sum in 16 bits, its carries added to it. */
INLINE __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16);
}

/* Of `bytes` (a multiple of four) whose own checksum field is zero, after those that
 * `sum` already has.
 */
INLINE __sum16 csum_of(void *start, __u32 bytes, __u32 sum)
{
	return ~csum_fold((__u32)bpf_csum_diff(NULL, 0, start, bytes, sum));
}

#endif
