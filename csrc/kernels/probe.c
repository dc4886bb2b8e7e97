/* Choice of the probes. */
#include "dns/probe.h"

DNS_OPS_SELECT(dns_probe_ops)
