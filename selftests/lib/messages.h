/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What processes tell each other, and pass on, through a socket
 */
#ifndef PARKCLOCK_SELFTESTS_MESSAGES_H
#define PARKCLOCK_SELFTESTS_MESSAGES_H

#include <stdint.h>

/* These die if the other process is gone. */
void say(int sock, int64_t value);
int64_t hear(int sock);

void send_fd(int sock, int fd);
int receive_fd(int sock);

#endif
