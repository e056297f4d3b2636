/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Probes on the scheduler's tracepoints: attached while somebody needs them.
 */
#ifndef PARKCLOCK_PROBES_H
#define PARKCLOCK_PROBES_H

struct tracepoint;

/**
 * struct parkclock_probe - a probe of a tracepoint
 * @name:       name of the tracepoint
 * @probe:      the function, of the tracepoint's own type
 * @tracepoint: filled in by parkclock_probes_init(); NULL if this kernel has none
 */
struct parkclock_probe {
	const char *name;
	void *probe;
	struct tracepoint *tracepoint;
};

void parkclock_probes_init(struct parkclock_probe *probes, unsigned int n);
void parkclock_probes_detach(void);
void parkclock_probes_exit(void);
int parkclock_probes_pin(void);
void parkclock_probes_unpin(unsigned int n);

#endif
