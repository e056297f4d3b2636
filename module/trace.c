// SPDX-License-Identifier: GPL-2.0
/*
 * Trace events: their definitions live here.
 */
#define CREATE_TRACE_POINTS
#include "trace.h"
