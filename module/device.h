/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/parkclock
 */
#ifndef PARKCLOCK_DEVICE_H
#define PARKCLOCK_DEVICE_H

int parkclock_device_init(void);
void parkclock_device_exit(void);

#endif
