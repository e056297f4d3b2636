// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>

#include "bench.h"

void show(double target, double value, const char *text, ...)
{
	char most[32] = "-";
	va_list args;

	if (target != NO_TARGET)
		snprintf(most, sizeof(most), "%.0f", target);
	printf("figure %s %.1f ", most, value);
	va_start(args, text);
	vprintf(text, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}
