// SPDX-License-Identifier: Apache-2.0
/* For the main of netbench.c. */
#ifndef VISIT_H
#define VISIT_H

#include <netinet/in.h>

/* Visits `to` for `seconds`; type is SOCK_STREAM or SOCK_DGRAM; prints as the head of visit.c says. */
void visit(int type, const struct sockaddr_in *to, double seconds, double per_second, double patience);

#endif
