/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The version of parkclock: of the module, the tools and CHANGELOG.md. What readers and
 * programs rely on has a version of its own, PARKCLOCK_VERSION.
 */
#ifndef PARKCLOCK_VERSION_H
#define PARKCLOCK_VERSION_H

#define PARKCLOCK_RELEASE	"0.3.0"

#endif
