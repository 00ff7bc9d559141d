/* The calls that compiled.py makes of loops.c, and their threads. */

#pragma once

#include <stdint.h>

/* The arguments of a call, 8 bytes each; compiled._run packs them in this order. */
struct work {
    int64_t count, dim;        /* n vectors of d numbers */
    int64_t numbers;           /* per pair: 1 for an angle, 4 for a block */
    int64_t threads;           /* at most */
    int64_t share, shares;     /* vectors per share, and number of shares */
    int64_t padded;            /* numbers in all levels of a tree: see padded_size */
    int64_t bfloat16;          /* 1 if x, grad and out are bfloat16, 0 if float32 */
    int64_t flag;              /* turn: 1 for R^T; pullback: 1 to compute the gradient of x */
    const void *x;             /* (n, d) */
    const void *grad;          /* (n, d), of R^T x */
    void *out;                 /* (n, d) */
    const float *coefficients; /* (2 or 4, padded), from pack */
    float *grad_rotation;      /* (d-1, numbers) */
    float *scratch;            /* (threads, 2, 2, padded), then sums (shares, numbers, padded) */
};

/* OpenMP's functions: the number of this thread, the size of its team, a barrier, and a parallel
   region that runs a function on a team. */
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
