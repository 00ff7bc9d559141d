/* The tree of coordinates as loops.c walks it, padded to whole registers. */

#pragma once

#include "registers.h"

#define LEVELS 48 /* at most */

/* The levels of a tree, the finest first. Level r has heads[r] heads, of which pairs[r] have a tail,
   and starts at[r] numbers into the memory. */
struct tree {
    int64_t levels, pairs[LEVELS], heads[LEVELS], at[LEVELS];
};

static int64_t padded_to(int64_t count, int64_t size)
{
    return (count + size - 1) / size * size;
}

/* Return the number of numbers in all levels. The next level reads two registers at a time. */
static int64_t plant(int64_t dim, struct tree *tree)
{
    int64_t at = 0, level = 0;
    for (int64_t live = dim; live > 1; live = tree->heads[level++]) {
        tree->pairs[level] = live / 2;
        tree->heads[level] = live - live / 2;
        tree->at[level] = at;
        at += padded_to(tree->heads[level], 2 * WIDE);
    }
    tree->levels = level;
    return at;
}

int64_t padded_size(int64_t dim)
{
    struct tree tree;
    return plant(dim, &tree);
}
