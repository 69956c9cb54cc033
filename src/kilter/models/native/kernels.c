/* The small passes around the matrix products, each once over memory; see __init__.py beside this file.
 *
 * Every function exists for bfloat16 (`_bf16`) and float32 (`_f32`): this file includes itself once for each, with T the
 * stored type. Arithmetic is in float32, rounded once to T (to nearest even; NaN stays NaN). Rows are given to threads in
 * fixed parts and each row is summed in a fixed order, so results depend on neither the number of threads nor chance.
 */
#ifndef T

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define SMALL 8192 /* elements that one thread passes over sooner than two threads meet */

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

int kilter_version(void) { return 2; }

INLINE floats load_f32(const float *p) { floats v; memcpy(&v, p, sizeof v); return v; }
INLINE void store_f32(float *p, floats v) { memcpy(p, &v, sizeof v); }

INLINE floats load_bf16(const uint16_t *p) {
#ifdef __AVX512F__ /* GCC 12 makes six instructions of the other */
  return (floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
  halves h;
  memcpy(&h, p, sizeof h);
  return (floats)(__builtin_convertvector(h, words) << 16);
#endif
}

INLINE void store_bf16(uint16_t *p, floats v) {
  words u = (words)v;
  words rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  words nan = (words)(v != v);
  rounded = (rounded & ~nan) | (nan & 0x7fc0);
#ifdef __AVX512F__
  _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)rounded));
#else
  halves h = __builtin_convertvector(rounded, halves);
  memcpy(p, &h, sizeof h);
#endif
}

INLINE float one_f32(const float *p) { return *p; }
INLINE void put_f32(float *p, float v) { *p = v; }
INLINE float one_bf16(const uint16_t *p) { uint32_t u = (uint32_t)*p << 16; float v; memcpy(&v, &u, 4); return v; }
INLINE void put_bf16(uint16_t *p, float v) {
  uint32_t u;
  memcpy(&u, &v, 4);
  *p = v != v ? 0x7fc0 : (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

INLINE floats fill(float v) { return (floats){v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v}; }
INLINE floats either(ints which, floats a, floats b) { return (floats)((which & (ints)a) | (~which & (ints)b)); }

/* Always in the same order, whatever the processor. */
INLINE float total(floats v) {
  for (int width = LANES / 2; width; width /= 2)
    for (int i = 0; i < width; i++) v[i] += v[i + width];
  return v[0];
}

INLINE float largest(floats v) {
  float m = v[0];
  for (int i = 1; i < LANES; i++) m = v[i] > m || v[i] != v[i] ? v[i] : m;
  return m;
}

/* e^x to 2e-7 relative: 2^n from the exponent's bits, the rest (|r| <= ln 2 / 2) by a polynomial. Below -87 zero, above 88.7
 * infinity, NaN for NaN. */
INLINE floats exponential(floats x) {
  const float magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
  floats low = fill(-87.3f), high = fill(89.0f);
  ints under = x < low;
  floats y = either(x > high, high, either(under, low, x));
  floats shifted = y * 1.44269504f + magic;
  floats n = shifted - magic;
  floats r = (y - n * 0.693145752f) - n * 1.42860677e-6f;
  floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  ints power = (((ints)shifted - 0x4b400000) + 127) << 23;
  return either(under, fill(0), p * (floats)power);
}

/* s [n] becomes e^(s - max); returns 1 over the sum. n is padded to LANES by the caller with minus infinity. */
static float weigh(float *s, long n) {
  floats top = fill(-INFINITY), sum = fill(0);
  for (long w = 0; w < n; w += LANES) {
    floats v = load_f32(s + w);
    top = either((v > top) | (v != v), v, top);
  }
  floats high = fill(largest(top));
  for (long w = 0; w < n; w += LANES) {
    floats v = exponential(load_f32(s + w) - high);
    store_f32(s + w, v);
    sum += v;
  }
  return 1.0f / total(sum);
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(a) JOIN(a, SUFFIX)
#define LOAD JOIN(load, SUFFIX)
#define STORE JOIN(store, SUFFIX)
#define ONE JOIN(one, SUFFIX)
#define PUT JOIN(put, SUFFIX)
#define PARALLEL _Pragma("omp parallel for schedule(static) num_threads(threads) if (threads > 1 && work > SMALL)")

#define T float
#define SUFFIX f32
#include "kernels.c"
#undef T
#undef SUFFIX
#define T uint16_t
#define SUFFIX bf16
#include "kernels.c"

#else /* once per type from here on */

/* The first `count` values (fewer than LANES) at p; the others are zero. */
INLINE floats NAME(some)(const T *p, long count) {
  floats v = fill(0);
  for (long i = 0; i < count; i++) v[i] = ONE(p + i);
  return v;
}

INLINE void NAME(put_some)(T *p, floats v, long count) {
  for (long i = 0; i < count; i++) PUT(p + i, v[i]);
}

/* Every LANES values of a row of n, from i; GET(p) and SET(p, v) are about what is there, `rest` of them. */
#define EACH(i, n) \
  for (long i = 0, rest; i < (n) && (rest = (n) - i < LANES ? (n) - i : LANES, 1); i += LANES)
#define GET(p) (rest == LANES ? LOAD(p) : NAME(some)(p, rest))
#define SET(p, v) do { if (rest == LANES) STORE(p, v); else NAME(put_some)(p, v, rest); } while (0)

/* out = weight * x / rms(x); x and out [rows, d]. With `add` not null, x += add first. */
void NAME(norm)(T *x, const T *add, const T *weight, T *out, long rows, long d, float eps, int threads) {
  long work = rows * d;
  PARALLEL
  for (long row = 0; row < rows; row++) {
    T *own = x + row * d;
    floats squares = fill(0);
    if (add) EACH(i, d) SET(own + i, GET(own + i) + GET(add + row * d + i));
    EACH(i, d) squares += GET(own + i) * GET(own + i);
    float scale = 1.0f / sqrtf(total(squares) / d + eps);
    EACH(i, d) SET(out + row * d + i, GET(own + i) * scale * GET(weight + i));
  }
}

/* out = silu(gate) * up; gate and up [rows, d], their rows `stride` apart. */
void NAME(gated)(const T *gate, const T *up, T *out, long rows, long d, long stride, int threads) {
  long work = rows * d;
  PARALLEL
  for (long row = 0; row < rows; row++) {
    const T *g = gate + row * stride, *u = up + row * stride;
    EACH(i, d) {
      floats v = GET(g + i);
      SET(out + row * d + i, v / (1.0f + exponential(-v)) * GET(u + i));
    }
  }
}

/* Turn every head of x [rows, heads, d], rows `stride` apart, by its row's angles: cos and sin [rows, d]; into out, rows
 * `out_stride` apart, which may be x. sign -1 turns back. With `weight` [d] each head goes through its norm first. */
void NAME(rotate)(const T *x, const T *cosine, const T *sine, const T *weight, float eps, T *out, long rows, long heads,
                  long d, long stride, long out_stride, float sign, int threads) {
  long work = rows * heads * d;
  PARALLEL
  for (long row = 0; row < rows; row++)
    for (long head = 0; head < heads; head++) {
      const T *a = x + row * stride + head * d, *b = a + d / 2, *w = weight ? weight + d / 2 : 0;
      const T *ca = cosine + row * d, *cb = ca + d / 2, *sa = sine + row * d, *sb = sa + d / 2;
      T *to = out + row * out_stride + head * d;
      float scale = 1.0f;
      if (weight) {
        floats squares = fill(0);
        EACH(i, d) squares += GET(a + i) * GET(a + i);
        scale = 1.0f / sqrtf(total(squares) / d + eps);
      }
      EACH(i, d / 2) {
        floats left = GET(a + i) * scale, right = GET(b + i) * scale;
        if (weight) left *= GET(weight + i), right *= GET(w + i);
        SET(to + i, left * GET(ca + i) - sign * right * (sign < 0 ? GET(sb + i) : GET(sa + i)));
        SET(to + d / 2 + i, right * GET(cb + i) + sign * left * (sign < 0 ? GET(sa + i) : GET(sb + i)));
      }
    }
}

#define PART 64 /* rows whose weight gradients are summed together */

/* Gradients of norm without `add`: dx [rows, d], and unless it is null, in `parts` [rows / PART rounded up, d] the float32
 * sums over PART rows each that make up the weight's. */
void NAME(norm_backward)(const T *x, const T *weight, const T *grad, T *dx, float *parts, long rows, long d, float eps,
                         int threads) {
  long work = rows * d;
  PARALLEL
  for (long part = 0; part < (rows + PART - 1) / PART; part++) {
    float *sums = parts ? parts + part * d : 0;
    if (sums) memset(sums, 0, sizeof(float) * d);
    for (long row = part * PART; row < rows && row < (part + 1) * PART; row++) {
      const T *own = x + row * d, *g = grad + row * d;
      floats squares = fill(0), along = fill(0);
      EACH(i, d) {
        floats v = GET(own + i);
        squares += v * v;
        along += v * GET(g + i) * GET(weight + i);
      }
      float scale = 1.0f / sqrtf(total(squares) / d + eps), mean = total(along) * scale / d;
      EACH(i, d) {
        floats unit = GET(own + i) * scale, each = GET(g + i);
        if (sums && rest == LANES) store_f32(sums + i, load_f32(sums + i) + each * unit);
        else if (sums) put_some_f32(sums + i, some_f32(sums + i, rest) + each * unit, rest);
        SET(dx + row * d + i, (each * GET(weight + i) - unit * mean) * scale);
      }
    }
  }
}

/* Gradients of gated for dense rows: n numbers each. */
void NAME(gated_backward)(const T *gate, const T *up, const T *grad, T *dgate, T *dup, long n, int threads) {
  long work = n, step = 4096;
  PARALLEL
  for (long part = 0; part < (n + step - 1) / step; part++) {
    long first = part * step, count = n - first < step ? n - first : step;
    EACH(j, count) {
      long i = first + j;
      floats v = GET(gate + i), g = GET(grad + i), sigmoid = 1.0f / (1.0f + exponential(-v));
      SET(dgate + i, g * GET(up + i) * sigmoid * (1.0f + v * (1.0f - sigmoid)));
      SET(dup + i, g * v * sigmoid);
    }
  }
}

/* Heads of tokens as dense blocks: x [N, heads, d], tokens `stride` apart, to out [S, heads, Q, d]; at
 * [S, Q] names the tokens, -1 none, which gives zeros. */
void NAME(gather)(const T *x, const int64_t *at, T *out, long segments, long queries, long heads, long d, long stride,
                  int threads) {
  long work = segments * queries * heads * d;
  PARALLEL
  for (long segment = 0; segment < segments; segment++)
    for (long head = 0; head < heads; head++)
      for (long query = 0; query < queries; query++) {
        long token = at[segment * queries + query];
        T *to = out + ((segment * heads + head) * queries + query) * d;
        if (token < 0) memset(to, 0, sizeof(T) * d);
        else memcpy(to, x + token * stride + head * d, sizeof(T) * d);
      }
}

/* The way back: out [N, heads, d], dense, gets what the block holds, or with `add` has it added, segment after segment. */
void NAME(scatter)(const T *block, const int64_t *at, T *out, long segments, long queries, long heads, long d, int add,
                   int threads) {
  long work = segments * queries * heads * d;
  PARALLEL
  for (long head = 0; head < heads; head++)
    for (long segment = 0; segment < segments; segment++)
      for (long query = 0; query < queries; query++) {
        long token = at[segment * queries + query];
        if (token < 0) continue;
        const T *from = block + ((segment * heads + head) * queries + query) * d;
        T *to = out + (token * heads + head) * d;
        if (add) EACH(i, d) SET(to + i, GET(to + i) + GET(from + i));
        else memcpy(to, from, sizeof(T) * d);
      }
}

/* softmax(scale * s) in place, s [S, each, Q, keys]: a row sees its first seen[S, Q] keys, and has zeros behind them. */
void NAME(softmax)(T *s, const int64_t *seen, long segments, long each, long queries, long keys, float scale, int threads) {
  long work = segments * each * queries * keys;
  PARALLEL
  for (long row = 0; row < segments * each * queries; row++) {
    long n = seen[row / (each * queries) * queries + row % queries];
    T *own = s + row * keys;
    float weights[keys + LANES];
    EACH(i, n) {
      floats v = GET(own + i) * scale;
      if (rest < LANES)
        for (long l = rest; l < LANES; l++) v[l] = -INFINITY;
      store_f32(weights + i, v);
    }
    floats share = fill(weigh(weights, (n + LANES - 1) / LANES * LANES));
    EACH(i, n) SET(own + i, load_f32(weights + i) * share);
    memset(own + n, 0, sizeof(T) * (keys - n));
  }
}

/* Its gradient with respect to s, in place of that of the probabilities p. */
void NAME(softmax_backward)(const T *p, T *grad, const int64_t *seen, long segments, long each, long queries, long keys,
                            float scale, int threads) {
  long work = segments * each * queries * keys;
  PARALLEL
  for (long row = 0; row < segments * each * queries; row++) {
    long n = seen[row / (each * queries) * queries + row % queries];
    const T *own = p + row * keys;
    T *g = grad + row * keys;
    floats sum = fill(0);
    EACH(i, n) sum += GET(own + i) * GET(g + i);
    float mean = total(sum);
    EACH(i, n) SET(g + i, GET(own + i) * (GET(g + i) - mean) * scale);
    memset(g + n, 0, sizeof(T) * (keys - n));
  }
}

/* Scores of `count` (at most 4) queries [count, d] against keys [d, width] in columns [0, used): into s, rows `wide` apart. */
INLINE void NAME(scores_)(const int count, const float *q, const T *keys, const T *mask, float *s, long d, long width,
                         long used, long wide) {
  long w = 0;
  for (; w + 4 * LANES <= used; w += 4 * LANES) {
    floats sum[4][4] = {0};
    for (long i = 0; i < d; i++) {
      const T *k = keys + i * width + w;
      floats k0 = LOAD(k), k1 = LOAD(k + LANES), k2 = LOAD(k + 2 * LANES), k3 = LOAD(k + 3 * LANES);
#pragma GCC unroll 4
      for (int r = 0; r < count; r++) {
        floats one = fill(q[r * d + i]);
        sum[r][0] += one * k0, sum[r][1] += one * k1, sum[r][2] += one * k2, sum[r][3] += one * k3;
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) store_f32(s + r * wide + w + j * LANES, sum[r][j] + LOAD(mask + w + j * LANES));
  }
  EACH(j, used - w) {
    floats sum[4] = {0};
    for (long i = 0; i < d; i++) {
      floats k = GET(keys + i * width + w + j);
#pragma GCC unroll 4
      for (int r = 0; r < count; r++) sum[r] += q[r * d + i] * k;
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) {
      floats v = sum[r] + GET(mask + w + j);
      memcpy(s + r * wide + w + j, &v, 4 * rest);
    }
  }
}

/* The loops above with a number of queries that the compiler knows. */
static void NAME(scores)(int count, const float *q, const T *keys, const T *mask, float *s, long d, long width, long used,
                         long wide) {
  if (count == 1) NAME(scores_)(1, q, keys, mask, s, d, width, used, wide);
  if (count == 2) NAME(scores_)(2, q, keys, mask, s, d, width, used, wide);
  if (count == 3) NAME(scores_)(3, q, keys, mask, s, d, width, used, wide);
  if (count == 4) NAME(scores_)(4, q, keys, mask, s, d, width, used, wide);
}

/* out += weights s [count, used], rows `wide` apart, times values [used, d]; out [count, d] float32. */
INLINE void NAME(sums_)(const int count, const float *s, const T *values, float *out, long d, long used, long wide) {
  long i = 0;
  for (; i + 4 * LANES <= d; i += 4 * LANES) {
    floats sum[4][4];
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sum[r][j] = load_f32(out + r * d + i + j * LANES);
    for (long w = 0; w < used; w++) {
      const T *v = values + w * d + i;
      floats v0 = LOAD(v), v1 = LOAD(v + LANES), v2 = LOAD(v + 2 * LANES), v3 = LOAD(v + 3 * LANES);
#pragma GCC unroll 4
      for (int r = 0; r < count; r++) {
        floats one = fill(s[r * wide + w]);
        sum[r][0] += one * v0, sum[r][1] += one * v1, sum[r][2] += one * v2, sum[r][3] += one * v3;
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) store_f32(out + r * d + i + j * LANES, sum[r][j]);
  }
  EACH(j, d - i) {
    floats sum[4] = {0};
    for (long w = 0; w < used; w++) {
      floats v = GET(values + w * d + i + j);
#pragma GCC unroll 4
      for (int r = 0; r < count; r++) sum[r] += s[r * wide + w] * v;
    }
    for (int r = 0; r < count; r++)
      for (long l = 0; l < rest; l++) out[r * d + i + j + l] += sum[r][l];
  }
}

static void NAME(sums)(int count, const float *s, const T *values, float *out, long d, long used, long wide) {
  if (count == 1) NAME(sums_)(1, s, values, out, d, used, wide);
  if (count == 2) NAME(sums_)(2, s, values, out, d, used, wide);
  if (count == 3) NAME(sums_)(3, s, values, out, d, used, wide);
  if (count == 4) NAME(sums_)(4, s, values, out, d, used, wide);
}

typedef struct {
  const T *keys, *values, *mask; /* [X * G, d, width], [X * G, width, d], [X * G, width] */
  long width, used;              /* columns that there are, and the first of them that anybody looks at */
} NAME(columns);

/* Up to four query heads of one row that share key head number `place` of its prompt and of its own columns. */
static void NAME(few)(int count, const float *q, NAME(columns) prompt, long at, NAME(columns) own, long place,
                      float *s, T *out, long d) {
  long first = (prompt.used + LANES - 1) / LANES * LANES, wide = first + (own.used + LANES - 1) / LANES * LANES;
  float sums[4 * d];
  memset(sums, 0, sizeof sums);
  for (int r = 0; r < count; r++)
    for (long w = 0; w < wide; w += LANES)
      if (w + LANES > wide || (w + LANES > prompt.used && w < first) || w + LANES > first + own.used)
        store_f32(s + r * wide + w, fill(-INFINITY));
  NAME(scores)(count, q, prompt.keys + at * d * prompt.width, prompt.mask + at * prompt.width, s, d, prompt.width,
               prompt.used, wide);
  NAME(scores)(count, q, own.keys + place * d * own.width, own.mask + place * own.width, s + first, d, own.width, own.used,
               wide);
  float scale[4];
  for (int r = 0; r < count; r++) scale[r] = weigh(s + r * wide, wide);
  NAME(sums)(count, s, prompt.values + at * d * prompt.width, sums, d, prompt.used, wide);
  NAME(sums)(count, s + first, own.values + place * d * own.width, sums, d, own.used, wide);
  for (int r = 0; r < count; r++)
    for (long i = 0; i < d; i++) PUT(out + r * d + i, sums[r * d + i] * scale[r]);
}

/* One new token per row. q [rows, heads, d], k and v [rows, groups, d], each with rows so far apart; k and v are put into
 * column `column` of the row's own columns, then q attends over its prompt's columns, number prompt_of[row], and its own. */
void NAME(attend)(const T *q, const T *k, const T *v, long q_stride, long k_stride, long v_stride, T *out, const T *prompt_keys, const T *prompt_values,
                  const T *prompt_mask, long prompt_width, const int64_t *prompt_of, T *keys, T *values, const T *mask,
                  long width, long column, long rows, long heads, long groups, long d, float scale, int threads) {
  long used = (column + LANES) / LANES * LANES, each = heads / groups;
  NAME(columns) prompt = {prompt_keys, prompt_values, prompt_mask, prompt_width, prompt_width};
  NAME(columns) own = {keys, values, mask, width, used < width ? used : width};
  long work = rows * heads * d * (prompt_width + column);
  PARALLEL
  for (long task = 0; task < rows * groups; task++) { /* rows of a prompt meet its keys in the cache */
    long group = task / rows, row = task % rows, place = row * groups + group;
    float scaled[4 * d], *s = malloc(sizeof(float) * 4 * (prompt_width + width + 2 * LANES));
    for (long i = 0; i < d; i++) keys[(place * d + i) * width + column] = k[row * k_stride + group * d + i];
    memcpy(values + (place * width + column) * d, v + row * v_stride + group * d, sizeof(T) * d);
    for (long head = 0; head < each; head += 4) {
      int count = each - head < 4 ? each - head : 4;
      const T *from = q + row * q_stride + (group * each + head) * d;
      T *to = out + (row * heads + group * each + head) * d;
      long at = prompt_width ? prompt_of[row] * groups + group : 0;
      for (long i = 0; i < count * d; i++) scaled[i] = ONE(from + i) * scale;
      NAME(few)(count, scaled, prompt, at, own, place, s, to, d);
    }
    free(s);
  }
}

#endif
