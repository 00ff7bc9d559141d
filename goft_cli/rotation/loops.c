/* The loops of compiled.py: R x and R^T x of many vectors, and the gradients.

   A vector walks down the tree of coordinates and up again. Down, from the finest stage to the
   coarsest, each stage parts the live coordinates into heads, which stay live, and tails, which do
   not. Up, each stage weaves heads and tails together. R multiplies on the way down, R^T on the way
   up, so that vector instructions always meet neighbouring pairs, however few vectors there are.

   A level of the tree is padded to whole registers: zeros in the vectors, the identity in the
   coefficients. A coordinate that is left without a partner therefore passes like any other.

   Memory is the caller's; nothing is allocated, for the system would have to clear it at each call.
   The vectors are cut into shares, each of which is one thread's work; what the shares sum up is
   added in their order, so that results do not depend on the number of threads. */

#include <string.h>

#include "registers.h"
#include "tree.h"
#include "work.h"

static int64_t bytes_of(const struct work *w, int64_t numbers)
{
    return numbers * (w->bfloat16 ? 2 : 4);
}

/* The even and the odd ones of the coordinates of a vector from one on; zeros behind the last. */
static inline void part_vector(const struct work *w, const void *vector, int64_t at, reg *even,
                               reg *odd)
{
    const char *from = (const char *)vector + bytes_of(w, at);
    float last[2 * WIDE];
    if (w->dim - at < 2 * WIDE) {
        memset(last, 0, sizeof(last));
        from = memcpy(last, from, bytes_of(w, w->dim - at));
    }
    if (w->bfloat16) {
        bits words;
        memcpy(&words, from, sizeof(bits));
        *even = (reg)(words << 16);
        *odd = (reg)(words & 0xffff0000);
    } else {
        part((const float *)from, even, odd);
    }
}

/* The way back. */
static inline void weave_vector(const struct work *w, void *vector, int64_t at, reg even, reg odd)
{
    char *to = (char *)vector + bytes_of(w, at);
    float last[2 * WIDE];
    int whole = w->dim - at >= 2 * WIDE;
    void *target = whole ? (void *)to : last;
    if (w->bfloat16) {
        bits words = rounded(even) >> 16 | (rounded(odd) & 0xffff0000);
        memcpy(target, &words, sizeof(bits));
    } else {
        weave(target, even, odd);
    }
    if (!whole)
        memcpy(to, last, bytes_of(w, w->dim - at));
}

static void *vector_of(const struct work *w, const void *vectors, int64_t row)
{
    return (char *)vectors + bytes_of(w, row * w->dim);
}

/* The block of each of WIDE pairs: [[a1, b1], [a2, b2]]. */
struct blocks {
    reg a1, b1, a2, b2;
};

static inline struct blocks blocks_at(const struct work *w, int64_t at)
{
    const float *from = w->coefficients + at;
    if (w->numbers == 4)
        return (struct blocks){get(from), get(from + w->padded), get(from + 2 * w->padded),
                               get(from + 3 * w->padded)};
    reg cosine = get(from), sine = get(from + w->padded);
    return (struct blocks){cosine, -sine, sine, cosine};
}

/* A vector on its way: heads and tails of all levels, (padded) each. */
struct walk {
    float *heads, *tails;
};

/* From a vector to its heads and tails of all levels; R of it if multiplied. */
static inline void go_down(const struct work *w, const struct tree *tree, const void *vector,
                           struct walk to, int multiplied)
{
    for (int64_t level = 0; level < tree->levels; level++) {
        int64_t start = tree->at[level], stop = start + tree->heads[level];
        const float *from = level ? to.heads + tree->at[level - 1] : 0;
        for (int64_t at = start; at < stop; at += WIDE) {
            reg even, odd;
            if (level)
                part(from + 2 * (at - start), &even, &odd);
            else
                part_vector(w, vector, 2 * at, &even, &odd);
            if (multiplied) {
                struct blocks p = blocks_at(w, at);
                reg head = p.a1 * even + p.b1 * odd;
                odd = p.a2 * even + p.b2 * odd;
                even = head;
            }
            put(to.heads + at, even);
            put(to.tails + at, odd);
        }
    }
}

/* Back to the heads of the finest level or, if it is given, to a vector; R^T if multiplied. */
static inline void go_up(const struct work *w, const struct tree *tree, struct walk from,
                         void *vector, int multiplied)
{
    for (int64_t level = tree->levels - 1; level >= (vector ? 0 : 1); level--) {
        int64_t start = tree->at[level], stop = start + tree->heads[level];
        float *to = level ? from.heads + tree->at[level - 1] : 0;
        for (int64_t at = start; at < stop; at += WIDE) {
            reg even = get(from.heads + at), odd = get(from.tails + at);
            if (multiplied) {
                struct blocks p = blocks_at(w, at);
                reg upper = p.a1 * even + p.a2 * odd;
                odd = p.b1 * even + p.b2 * odd;
                even = upper;
            }
            if (level)
                weave(to + 2 * (at - start), even, odd);
            else
                weave_vector(w, vector, 2 * at, even, odd);
        }
    }
}

/* As go_down, of the gradient that reaches R^T x. The pairs' inputs, which x holds, times what
   reaches the pairs is added to sums, which the first vector of a share sets: d/d angle, or d/d a1,
   b1, a2, b2. */
static inline void go_back(const struct work *w, const struct tree *tree, const void *grad,
                           struct walk x, struct walk to, float *sums, int first)
{
    for (int64_t level = 0; level < tree->levels; level++) {
        int64_t start = tree->at[level], stop = start + tree->heads[level];
        const float *from = level ? to.heads + tree->at[level - 1] : 0;
        for (int64_t at = start; at < stop; at += WIDE) {
            reg even, odd, upper = get(x.heads + at), lower = get(x.tails + at);
            if (level)
                part(from + 2 * (at - start), &even, &odd);
            else
                part_vector(w, grad, 2 * at, &even, &odd);
            struct blocks p = blocks_at(w, at);
            reg head = p.a1 * even + p.b1 * odd, tail = p.a2 * even + p.b2 * odd;
            put(to.heads + at, head);
            put(to.tails + at, tail);
            if (w->numbers == 4) {
                sum_up(sums + at, upper * even, first);
                sum_up(sums + w->padded + at, upper * odd, first);
                sum_up(sums + 2 * w->padded + at, lower * even, first);
                sum_up(sums + 3 * w->padded + at, lower * odd, first);
            } else {
                sum_up(sums + at, lower * head - upper * tail, first);
            }
        }
    }
}

/* Which of this thread's two walks; its padding is zero, and stays so. */
static struct walk walk_of(const struct work *w, const struct tree *tree, int64_t which)
{
    float *heads = w->scratch + (2 * number() + which) * 2 * w->padded;
    for (int64_t level = 0; level < tree->levels; level++) {
        int64_t used = tree->heads[level], free = padded_to(used, 2 * WIDE) - used;
        memset(heads + tree->at[level] + used, 0, free * sizeof(float));
    }
    return (struct walk){heads, heads + w->padded};
}

static float *sums_of(const struct work *w, int64_t share)
{
    return w->scratch + 4 * w->padded * w->threads + w->numbers * w->padded * share;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Shares of R^T x, if the flag is set, or of R x. */
static void turn_shares(void *of)
{
    const struct work *w = of;
    struct tree tree;
    plant(w->dim, &tree);
    struct walk walk = walk_of(w, &tree, 0);
    for (int64_t share = number(); share < w->shares; share += team())
        for (int64_t row = share * w->share; row < least(w->count, (share + 1) * w->share); row++) {
            if (w->flag) {
                go_down(w, &tree, vector_of(w, w->x, row), walk, 0);
                go_up(w, &tree, walk, vector_of(w, w->out, row), 1);
            } else {
                go_down(w, &tree, vector_of(w, w->x, row), walk, 1);
                go_up(w, &tree, walk, vector_of(w, w->out, row), 0);
            }
        }
}

/* This thread's part of the gradient of the rotation: shares added, padding left out. */
static void collect(const struct work *w, const struct tree *tree)
{
    float *out = w->grad_rotation;
    for (int64_t level = 0; level < tree->levels; out += w->numbers * tree->pairs[level++])
        for (int64_t k = number() * WIDE; k < tree->pairs[level]; k += team() * WIDE) {
            reg sum[4] = {{0}, {0}, {0}, {0}};
            for (int64_t share = 0; share < w->shares; share++)
                for (int64_t entry = 0; entry < w->numbers; entry++)
                    sum[entry] += get(sums_of(w, share) + entry * w->padded + tree->at[level] + k);
            float firsts[2 * WIDE], seconds[2 * WIDE], all[4 * WIDE];
            put(all, sum[0]);
            if (w->numbers == 4) { /* to a1, b1, a2, b2 of each pair */
                weave(firsts, sum[0], sum[2]);
                weave(seconds, sum[1], sum[3]);
                weave(all, get(firsts), get(seconds));
                weave(all + 2 * WIDE, get(firsts + WIDE), get(seconds + WIDE));
            }
            int64_t pairs = least(WIDE, tree->pairs[level] - k);
            memcpy(out + w->numbers * k, all, pairs * w->numbers * sizeof(float));
        }
}

/* Shares of the gradient of x through R^T x, if the flag is set, and that of the rotation. */
static void pull_shares_back(void *of)
{
    const struct work *w = of;
    struct tree tree;
    plant(w->dim, &tree);
    struct walk of_x = walk_of(w, &tree, 0), of_grad = walk_of(w, &tree, 1);
    for (int64_t share = number(); share < w->shares; share += team()) {
        int64_t first = share * w->share;
        for (int64_t row = share * w->share; row < least(w->count, (share + 1) * w->share); row++) {
            go_down(w, &tree, vector_of(w, w->x, row), of_x, 0);
            go_up(w, &tree, of_x, 0, 1);
            go_back(w, &tree, vector_of(w, w->grad, row), of_x, of_grad, sums_of(w, share),
                    row == first);
            if (w->flag)
                go_up(w, &tree, of_grad, vector_of(w, w->out, row), 0);
        }
    }
    wait();
    collect(w, &tree);
}

void turn(struct work *w)
{
    launch(turn_shares, w, (unsigned)w->threads, 0);
}

void pullback(struct work *w)
{
    launch(pull_shares_back, w, (unsigned)w->threads, 0);
}

/* Coefficients as the walk reads them: of angles their cosines and sines, or blocks (d-1, 2, 2). */
void pack(int64_t dim, int64_t numbers, const float *given, const float *sines, float *packed)
{
    struct tree tree;
    int64_t padded = plant(dim, &tree), done = 0;
    for (int64_t at = 0; at < padded; at++)
        for (int64_t entry = 0; entry < (numbers == 4 ? 4 : 2); entry++)
            packed[entry * padded + at] = entry == 0 || entry == 3;
    for (int64_t level = 0; level < tree.levels; done += tree.pairs[level++])
        for (int64_t k = 0; k < tree.pairs[level]; k++)
            if (numbers == 4) {
                for (int64_t entry = 0; entry < 4; entry++)
                    packed[entry * padded + tree.at[level] + k] = given[4 * (done + k) + entry];
            } else {
                packed[tree.at[level] + k] = given[done + k];
                packed[padded + tree.at[level] + k] = sines[done + k];
            }
}
