/* The loops of compiled.py: R x and R^T x of many vectors, and the gradients.

   For each vector, the loops walk down the tree of coordinates and up again. On the way down, from
   the finest to the coarsest stage, each stage splits the live coordinates into heads, which stay
   live, and tails, which do not. On the way up, each stage interleaves heads and tails. R is
   applied on the way down and R^T on the way up, so that vector instructions always read
   neighbouring pairs, even if there are few vectors.

   Each level of the tree is padded to whole registers, with zeros in the vectors and the identity
   in the coefficients. A coordinate without a partner therefore needs no special case.

   The caller provides all memory. The loops allocate none, because the system would have to clear
   it at each call. The vectors are divided into shares, each of which one thread processes. The
   sums of the shares are added in a fixed order, so that results do not depend on the number of
   threads. */

#include <string.h>

#include "registers.h"
#include "tree.h"
#include "work.h"

static int64_t bytes_of(const struct work *w, int64_t numbers)
{
    return numbers * (w->bfloat16 ? 2 : 4);
}

/* Read the even and the odd coordinates of a vector from `at` on; behind the last, read zeros. */
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

/* Write the even and the odd coordinates of a vector from `at` on; drop those behind the last. */
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

/* The blocks of WIDE pairs, each [[a1, b1], [a2, b2]]. */
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

/* The heads and the tails of a vector at all levels, (padded) numbers each. */
struct walk {
    float *heads, *tails;
};

/* Compute the heads and tails of a vector at all levels; multiply by R if `multiplied`. */
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

/* Compute the heads of all levels from the tails and the coarsest heads, and the vector if it is
   given; multiply by R^T if `multiplied`. */
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

/* Multiply the gradient of R^T x by R, as go_down does. Add the gradient of the rotation to `sums`:
   d/d angle, or d/d a1, b1, a2, b2. These are products of the pairs' inputs, which x holds, and the
   gradients at the pairs. The first vector of a share overwrites `sums`. */
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

/* Return one of this thread's two walks, with zeros in its padding; the loops keep them. */
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

/* Compute this thread's shares of R^T x if the flag is set, else of R x. */
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

/* Write this thread's part of the rotation's gradient: the sum over shares, without padding. */
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
            if (w->numbers == 4) { /* in the order a1, b1, a2, b2 of each pair */
                weave(firsts, sum[0], sum[2]);
                weave(seconds, sum[1], sum[3]);
                weave(all, get(firsts), get(seconds));
                weave(all + 2 * WIDE, get(firsts + WIDE), get(seconds + WIDE));
            }
            int64_t pairs = least(WIDE, tree->pairs[level] - k);
            memcpy(out + w->numbers * k, all, pairs * w->numbers * sizeof(float));
        }
}

/* Compute this thread's shares of the gradient of the rotation and, if the flag is set, of x. */
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

/* Pack cosines and sines of angles, or blocks (d-1, 2, 2), in the order in which the loops read. */
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
