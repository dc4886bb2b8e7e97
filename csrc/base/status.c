/* Status names and the one function that fills an error record. */
#include "dns/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *
dns_status_name(int code)
{
    switch (code) {
    case DNS_OK:
        return "DNS_OK";
    case DNS_ERR_MEMORY:
        return "DNS_ERR_MEMORY";
    case DNS_ERR_OVERFLOW:
        return "DNS_ERR_OVERFLOW";
    case DNS_ERR_VALUE:
        return "DNS_ERR_VALUE";
    case DNS_ERR_SHAPE:
        return "DNS_ERR_SHAPE";
    case DNS_ERR_FORMAT:
        return "DNS_ERR_FORMAT";
    case DNS_ERR_STATE:
        return "DNS_ERR_STATE";
    case DNS_ERR_POLICY:
        return "DNS_ERR_POLICY";
    case DNS_ERR_CALLBACK:
        return "DNS_ERR_CALLBACK";
    case DNS_ERR_LIVELOCK:
        return "DNS_ERR_LIVELOCK";
    case DNS_ERR_UNSUPPORTED:
        return "DNS_ERR_UNSUPPORTED";
    case DNS_ERR_INTERNAL:
        return "DNS_ERR_INTERNAL";
    default:
        return "unknown";
    }
}

dns_status
dns_fail(dns_error *err, dns_status code, int64_t index, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        err->code = code;
        err->index = index;
        va_start(args, format);
        (void)vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return code;
}
