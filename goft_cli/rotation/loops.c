/* The loops of compiled.py: R x and R^T x of many vectors, and the gradients, pair by pair.

   LANES vectors are turned at a time. A tile (d, LANES) holds them transposed, so that a pair reads
   and writes two rows of it, all lanes alike, and the compiler finds vector instructions.

   Memory is the caller's, and contiguous; nothing is allocated, for the system would have to clear
   it at each call. The vectors are cut into shares, each of which is one thread's work; what the
   shares sum up is added in their order, so that results do not depend on the number of threads. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 32
#define SHARES 32 /* at most */
#define WORDS 8   /* columns of a square that is transposed in registers */

typedef float lanes[LANES];
typedef float block[4]; /* a1, b1, a2, b2 of [[a1, b1], [a2, b2]] */
typedef float words __attribute__((vector_size(WORDS * sizeof(float))));

/* The rows of a tile that a block turns. */
struct pair {
    int32_t upper, lower;
    float a1, b1, a2, b2;
};

/* What a team of threads is given; compiled.Work has the same fields. */
struct work {
    int64_t count, dim;    /* n vectors of d numbers */
    int64_t numbers;       /* per pair: 1 of an angle, or 4 of a block */
    int64_t threads;       /* at most */
    int64_t flag;          /* turn: transposed? pullback: is the gradient of x wanted? */
    const float *rotation; /* (d-1, numbers) */
    const float *x;        /* (n, d) */
    float *out;            /* (n, d) */
    const float *grad;     /* (n, d), of R^T x */
    float *grad_rotation;  /* (d-1, numbers) */
    float *scratch;        /* see plan */
    int64_t share, shares; /* vectors per share, and how many shares: see plan */
};

/* OpenMP's: the number of this thread, of how many in its team, and to wait for all of them. */
static int (*number)(void), (*team)(void);
static void (*wait)(void);

void join(int (*of_thread)(void), int (*of_team)(void), void (*barrier)(void))
{
    number = of_thread;
    team = of_team;
    wait = barrier;
}

#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t places __attribute__((vector_size(WORDS * sizeof(float))));
#define PICK(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

static inline void transpose(const float *from, int64_t from_step, float *to, int64_t to_step)
{
    words r[WORDS], s[WORDS];
    for (int i = 0; i < WORDS; i++)
        memcpy(&r[i], from + i * from_step, sizeof(words));
    for (int i = 0; i < WORDS; i += 2) {
        s[i] = PICK(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[i + 1] = PICK(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < WORDS; i += 4) {
        r[i] = PICK(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = PICK(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 2] = PICK(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 3] = PICK(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        s[i] = PICK(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        s[i + 4] = PICK(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < WORDS; i++)
        memcpy(to + i * to_step, &s[i], sizeof(words));
}

/* Count rows of x to the columns of a tile; zeros in lanes without a row. */
static void load(const float *x, int64_t dim, int64_t count, lanes *tile)
{
    int64_t columns = dim - dim % WORDS, full = count - count % WORDS;
    for (int64_t lane = 0; lane < full; lane += WORDS)
        for (int64_t column = 0; column < columns; column += WORDS)
            transpose(x + lane * dim + column, dim, &tile[column][lane], LANES);
    for (int64_t lane = 0; lane < count; lane++)
        for (int64_t column = lane < full ? columns : 0; column < dim; column++)
            tile[column][lane] = x[lane * dim + column];
    for (int64_t column = 0; count < LANES && column < dim; column++)
        memset(&tile[column][count], 0, (LANES - count) * sizeof(float));
}

/* The way back. */
static void store(lanes *tile, int64_t dim, int64_t count, float *out)
{
    int64_t columns = dim - dim % WORDS, full = count - count % WORDS;
    for (int64_t lane = 0; lane < full; lane += WORDS)
        for (int64_t column = 0; column < columns; column += WORDS)
            transpose(&tile[column][lane], LANES, out + lane * dim + column, dim);
    for (int64_t lane = 0; lane < count; lane++)
        for (int64_t column = lane < full ? columns : 0; column < dim; column++)
            out[lane * dim + column] = tile[column][lane];
}

/* Two rows times [[a1, b1], [a2, b2]]. */
static inline void multiply(float *restrict upper, float *restrict lower, float a1, float b1,
                            float a2, float b2)
{
    for (int lane = 0; lane < LANES; lane++) {
        float first = upper[lane], second = lower[lane];
        upper[lane] = a1 * first + b1 * second;
        lower[lane] = a2 * first + b2 * second;
    }
}

/* R of all lanes: from the finest stage to the coarsest. */
static void climb(lanes *tile, const struct pair *pairs, int64_t count)
{
    for (const struct pair *p = pairs; p < pairs + count; p++)
        multiply(tile[p->upper], tile[p->lower], p->a1, p->b1, p->a2, p->b2);
}

/* R^T of all lanes: transposed blocks, from the coarsest stage to the finest. */
static void descend(lanes *tile, const struct pair *pairs, int64_t count)
{
    for (int64_t k = count; k-- > 0;) {
        const struct pair *p = pairs + k;
        multiply(tile[p->upper], tile[p->lower], p->a1, p->a2, p->b1, p->b2);
    }
}

/* As descend; what pair k is given goes to rows 2 k and 2 k + 1 of inputs. */
static void descend_and_keep(lanes *tile, const struct pair *pairs, int64_t count, lanes *inputs)
{
    for (int64_t k = count; k-- > 0;) {
        const struct pair *p = pairs + k;
        memcpy(inputs[2 * k], tile[p->upper], sizeof(lanes));
        memcpy(inputs[2 * k + 1], tile[p->lower], sizeof(lanes));
        multiply(tile[p->upper], tile[p->lower], p->a1, p->a2, p->b1, p->b2);
    }
}

/* Through the transposed block of one pair: upper and lower, the gradients of what it gave, become
   those of what it was given, first and second; the gradient of the block is added to sum. */
static inline void turn_back(float *restrict upper, float *restrict lower,
                             const float *restrict first, const float *restrict second,
                             const struct pair *p, float *sum)
{
    float of_a1 = 0, of_b1 = 0, of_a2 = 0, of_b2 = 0;
    for (int lane = 0; lane < LANES; lane++) {
        float above = upper[lane], below = lower[lane];
        of_a1 += first[lane] * above;
        of_b1 += first[lane] * below;
        of_a2 += second[lane] * above;
        of_b2 += second[lane] * below;
        upper[lane] = p->a1 * above + p->b1 * below;
        lower[lane] = p->a2 * above + p->b2 * below;
    }
    sum[0] += of_a1;
    sum[1] += of_b1;
    sum[2] += of_a2;
    sum[3] += of_b2;
}

/* Gradients through R^T of all lanes: grad becomes that of x, x is lost. Pairs of the finest stage
   share no row: what they are given is still in the tile of x when the others are done. */
static void turn_all_back(lanes *grad, lanes *x, const struct pair *pairs, int64_t count,
                          lanes *inputs, block *sums)
{
    int64_t finest = (count + 1) / 2, k = 0;
    descend_and_keep(x, pairs + finest, count - finest, inputs);
    for (const struct pair *p = pairs; k < finest; k++, p++)
        turn_back(grad[p->upper], grad[p->lower], x[p->upper], x[p->lower], p, sums[k]);
    for (const struct pair *p = pairs + finest; k < count; k++, p++, inputs += 2)
        turn_back(grad[p->upper], grad[p->lower], inputs[0], inputs[1], p, sums[k]);
}

/* Scratch memory: tiles (threads, 3, d, LANES), pairs (threads, d-1), sums (shares, d-1, 4). */
static lanes *tiles_of(const struct work *w, int64_t thread)
{
    return (lanes *)w->scratch + thread * 3 * w->dim;
}

static struct pair *pairs_of(const struct work *w, int64_t thread)
{
    return (struct pair *)tiles_of(w, w->threads) + thread * (w->dim - 1);
}

static block *sums_of(const struct work *w, int64_t share)
{
    return (block *)pairs_of(w, w->threads) + share * (w->dim - 1);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Cut the vectors into shares. Returns how many bytes the scratch memory has to hold. */
int64_t plan(struct work *w)
{
    int64_t pairs = w->dim - 1, tiles = (w->count + LANES - 1) / LANES;
    w->share = (tiles + SHARES - 1) / SHARES * LANES;
    w->shares = (w->count + w->share - 1) / w->share;
    w->threads = least(w->threads, w->shares);
    int64_t thread = 3 * w->dim * sizeof(lanes) + pairs * sizeof(struct pair);
    return w->threads * thread + w->shares * pairs * sizeof(block);
}

/* This thread's own copy of the pairs. */
static struct pair *prepare(const struct work *w)
{
    struct pair *pairs = pairs_of(w, number()), *p = pairs;
    const float *given = w->rotation;
    for (int64_t stride = 1; stride < w->dim; stride *= 2)
        for (int64_t i = 0; i + stride < w->dim; i += 2 * stride, p++, given += w->numbers) {
            *p = (struct pair){.upper = (int32_t)i, .lower = (int32_t)(i + stride)};
            if (w->numbers == 4) {
                p->a1 = given[0], p->b1 = given[1], p->a2 = given[2], p->b2 = given[3];
            } else {
                p->a1 = p->b2 = cosf(given[0]);
                p->a2 = sinf(given[0]);
                p->b1 = -p->a2;
            }
        }
    return pairs;
}

/* This thread's part of the gradient of the rotation. */
static void collect(const struct work *w, const struct pair *pairs)
{
    for (int64_t k = number(); k < w->dim - 1; k += team()) {
        block sum = {0};
        for (int64_t share = 0; share < w->shares; share++)
            for (int entry = 0; entry < 4; entry++)
                sum[entry] += sums_of(w, share)[k][entry];
        if (w->numbers == 4)
            memcpy(w->grad_rotation + 4 * k, sum, sizeof(block));
        else
            w->grad_rotation[k] =
                pairs[k].a1 * (sum[2] - sum[1]) - pairs[k].a2 * (sum[0] + sum[3]);
    }
}

/* Called by each thread: shares of R^T x, if the flag is set, or of R x. */
void turn(const struct work *w)
{
    int64_t dim = w->dim;
    struct pair *pairs = prepare(w);
    lanes *tile = tiles_of(w, number());
    for (int64_t share = number(); share < w->shares; share += team()) {
        int64_t stop = least(w->count, (share + 1) * w->share);
        for (int64_t row = share * w->share; row < stop; row += LANES) {
            int64_t count = least(LANES, stop - row);
            load(w->x + row * dim, dim, count, tile);
            (w->flag ? descend : climb)(tile, pairs, dim - 1);
            store(tile, dim, count, w->out + row * dim);
        }
    }
}

/* Called by each thread: shares of the gradient of x through R^T x, if the flag is set, and that of
   the rotation. */
void pullback(const struct work *w)
{
    int64_t dim = w->dim;
    struct pair *pairs = prepare(w);
    lanes *x = tiles_of(w, number()), *grad = x + dim, *inputs = grad + dim;
    for (int64_t share = number(); share < w->shares; share += team()) {
        memset(sums_of(w, share), 0, (dim - 1) * sizeof(block));
        int64_t stop = least(w->count, (share + 1) * w->share);
        for (int64_t row = share * w->share; row < stop; row += LANES) {
            int64_t count = least(LANES, stop - row);
            load(w->x + row * dim, dim, count, x);
            load(w->grad + row * dim, dim, count, grad);
            turn_all_back(grad, x, pairs, dim - 1, inputs, sums_of(w, share));
            if (w->flag)
                store(grad, dim, count, w->out + row * dim);
        }
    }
    wait();
    collect(w, pairs);
}
