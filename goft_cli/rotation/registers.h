/* Vector registers of the widest kind that the processor has, for loops.c. */

#pragma once

#include <stdint.h>

#if defined(__AVX512F__)
#define WIDE 16 /* floats of a register */
#elif defined(__AVX2__)
#define WIDE 8
#else
#define WIDE 4
#endif

typedef float reg __attribute__((vector_size(4 * WIDE)));
typedef float anywhere __attribute__((vector_size(4 * WIDE), aligned(4))); /* of memory */
typedef uint32_t bits __attribute__((vector_size(4 * WIDE)));

#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (bits){__VA_ARGS__})
#endif
#if WIDE == 16
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif WIDE == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#endif

static inline reg get(const float *from)
{
    return *(const anywhere *)from;
}

static inline void put(float *to, reg values)
{
    *(anywhere *)to = values;
}

static inline void part(const float *from, reg *even, reg *odd)
{
    reg low = get(from), high = get(from + WIDE);
    *even = PICK(low, high, EVEN);
    *odd = PICK(low, high, ODD);
}

static inline void weave(float *to, reg even, reg odd)
{
    put(to, PICK(even, odd, LOW));
    put(to + WIDE, PICK(even, odd, HIGH));
}

/* Round each number to the nearest bfloat16, ties to even; the result is in its upper half. */
static inline bits rounded(reg values)
{
    bits whole = (bits)values;
    bits is_nan = (bits)(values != values);
    bits near = whole + 0x7fff + (whole >> 16 & 1);
    return (is_nan & 0x7fc00000) | (~is_nan & near);
}

static inline void sum_up(float *to, reg values, int first)
{
    put(to, first ? values : get(to) + values);
}
