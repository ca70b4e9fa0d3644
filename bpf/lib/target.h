/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who on this node a packet from elsewhere is for. Called where packets enter the
 * node: from_netdev and from_overlay.
 */
#ifndef SETA_TARGET_H
#define SETA_TARGET_H

#include "common.h"
#include "eps.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_TARGET_H

/* Stage: the target and its identity; the node itself is one, too. */
INLINE int find_target(struct pkt *p)
{
	p->dst_ep = endpoint_find(&p->t.daddr, p->family);
	if (!p->dst_ep)
		return DROP(p, DROP_NO_MATCHING_LOCAL_CONTAINER_FOUND);
	p->dst_id = endpoint_is_pod(p->dst_ep) ? p->dst_ep->sec_id : IDENTITY_HOST;
	p->ep_id = p->dst_ep->lxc_id;
	return 0;
}

#endif
