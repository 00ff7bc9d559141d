/* What compiled.py asks of loops.c, and the threads that do it. */

#pragma once

#include <stdint.h>

/* What a call is about, 8 bytes each; compiled._run packs them in this order. */
struct work {
    int64_t count, dim;        /* n vectors of d numbers */
    int64_t numbers;           /* per pair: 1 of an angle, or 4 of a block */
    int64_t threads;           /* at most */
    int64_t share, shares;     /* vectors per share, and how many shares */
    int64_t padded;            /* numbers of all levels of a tree: see padded_size */
    int64_t bfloat16;          /* are x, grad and out bfloat16? Else they are float32. */
    int64_t flag;              /* turn: transposed? pullback: is the gradient of x wanted? */
    const void *x;             /* (n, d) */
    const void *grad;          /* (n, d), of R^T x */
    void *out;                 /* (n, d) */
    const float *coefficients; /* (2 or 4, padded), from pack */
    float *grad_rotation;      /* (d-1, numbers) */
    float *scratch;            /* (threads, 2, 2, padded), then sums (shares, numbers, padded) */
};

/* OpenMP's: the number of this thread, of how many in its team; to wait for all of them; to run a
   function on a team. */
static int (*number)(void), (*team)(void);
static void (*wait)(void), (*launch)(void (*)(void *), void *, unsigned, unsigned);

void join(int (*of_thread)(void), int (*of_team)(void), void (*barrier)(void),
          void (*parallel)(void (*)(void *), void *, unsigned, unsigned))
{
    number = of_thread;
    team = of_team;
    wait = barrier;
    launch = parallel;
}
