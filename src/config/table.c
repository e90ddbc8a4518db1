/* The tables of keys, made from schema/config.yaml. */
#include "base/clock.h"
#include "config/bind_internal.h"

#include "schema/config_table.h"
