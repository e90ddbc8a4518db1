/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as in iSCSI (RFC 3720 appendix B.4) and
 * PostgreSQL.  crc32c(0, ...) of "123456789" is 0xE3069283.  Uses SSE4.2 where the CPU has it.
 */
#ifndef STREAM_CRC32C_H
#define STREAM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Go on from `crc` (0 at the start): the inversion before and after is done here. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/*
 * Of one piece and then the other, as in PostgreSQL's WAL, whose records are summed up from their
 * 24th byte on and then in their first 20.  One call: that counts with millions of small ones.
 */
uint32_t crc32c_two(const void *first, size_t first_size, const void *second, size_t second_size);

/* The same without the CPU's help: what other CPUs run, and what the tests compare with. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

#endif
