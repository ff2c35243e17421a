"""CUDA C++ that makes a camera's image the encoder's input in one pass.

One thread makes one pixel of the input: it gathers the weighted source pixels (rows and columns apart, from
tables), turns YUV into RGB on the way, normalises, and writes three planes; outside the image it writes
zeros. Sums are made in the order, and rounded where, `encoder_input` does, so that an engine
sees on the GPU what it saw when it was verified. The source is plain enough for a C++ compiler with a few
macros, which is how tests compare it without a GPU.

Rounding by mode, as in `sam_edge.imaging.resize` and OpenCV:
    0  integer weights of 22 fractional bits, rounded to 8 bits after the columns and after the rows (Pillow)
    1  float weights, rounded to 8 bits at the end, halves to even (OpenCV's INTER_AREA on 8 bits)
    2  float weights, not rounded (OpenCV on floats)
    3  as 1, but halves up (OpenCV's INTER_AREA to just half the size)
"""

from __future__ import annotations

FUNCTION = "letterbox"
KERNEL = r"""
struct Image {
    const unsigned char* pixels;  // first row of the window; luma for NV12
    const unsigned char* chroma;  // first row of interleaved U and V of the frame, NV12 alone
    int pitch;                    // bytes from row to row
    int chroma_pitch;
    int layout;                   // 0: RGB, 1: BGR, 2: NV12
    int x, y;                     // where the window begins in the frame, for chroma
};

__device__ int clamp8(int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

struct Colour { int of[3]; };  // red, green, blue

__device__ Colour load(const Image& image, int row, int column) {
    const unsigned char* line = image.pixels + (long long)row * image.pitch;
    if (image.layout == 0) return Colour{{line[3 * column], line[3 * column + 1], line[3 * column + 2]}};
    if (image.layout == 1) return Colour{{line[3 * column + 2], line[3 * column + 1], line[3 * column]}};
    const unsigned char* pair = image.chroma
        + (long long)((row + image.y) / 2) * image.chroma_pitch + (column + image.x) / 2 * 2;
    int u = pair[0] - 128, v = pair[1] - 128, luma = line[column] - 16;
    // BT.601 of limited range in 20 fractional bits, as OpenCV has it.
    luma = (luma < 0 ? 0 : luma) * 1220542 + (1 << 19);
    return Colour{{clamp8((luma + 1673527 * v) >> 20),
                   clamp8((luma - 409993 * u - 852492 * v) >> 20),
                   clamp8((luma + 2116026 * u) >> 20)}};
}

__device__ void gather_fixed(const Image& image, const int* columns, const int* column_weights,
                             int column_taps, const int* rows, const int* row_weights, int row_taps,
                             float* answer) {
    int total[3] = {1 << 21, 1 << 21, 1 << 21};
    for (int j = 0; j < row_taps; ++j) {
        if (row_weights[j] == 0) continue;
        int sum[3] = {1 << 21, 1 << 21, 1 << 21};
        for (int i = 0; i < column_taps; ++i) {
            if (column_weights[i] == 0) continue;
            Colour colour = load(image, rows[j], columns[i]);
            for (int k = 0; k < 3; ++k) sum[k] += colour.of[k] * column_weights[i];
        }
        for (int k = 0; k < 3; ++k) total[k] += clamp8(sum[k] >> 22) * row_weights[j];
    }
    for (int k = 0; k < 3; ++k) answer[k] = (float)clamp8(total[k] >> 22);
}

__device__ void gather_float(const Image& image, const int* columns, const float* column_weights,
                             int column_taps, const int* rows, const float* row_weights, int row_taps,
                             float* answer) {
    for (int k = 0; k < 3; ++k) answer[k] = 0.0f;
    for (int j = 0; j < row_taps; ++j) {
        if (row_weights[j] == 0.0f) continue;
        float sum[3] = {0.0f, 0.0f, 0.0f};
        for (int i = 0; i < column_taps; ++i) {
            Colour colour = load(image, rows[j], columns[i]);
            for (int k = 0; k < 3; ++k)
                sum[k] = __fadd_rn(sum[k], __fmul_rn((float)colour.of[k], column_weights[i]));
        }
        for (int k = 0; k < 3; ++k) answer[k] = __fadd_rn(answer[k], __fmul_rn(sum[k], row_weights[j]));
    }
}

// Tables: for output column c, tap i lies at [c * taps + i]; rows alike. Weights are int (mode 0) or float.
extern "C" __global__ void letterbox(
    const unsigned char* pixels, const unsigned char* chroma, int pitch, int chroma_pitch, int layout,
    int x, int y, int mode,
    const int* columns, const void* column_weights, int column_taps,
    const int* rows, const void* row_weights, int row_taps,
    int content_width, int content_height, int width, int height,
    float scale_red, float scale_green, float scale_blue,
    float offset_red, float offset_green, float offset_blue, float* output) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= width || row >= height) return;
    const float scales[3] = {scale_red, scale_green, scale_blue};
    const float offsets[3] = {offset_red, offset_green, offset_blue};
    const Image image = {pixels, chroma, pitch, chroma_pitch, layout, x, y};
    float value[3] = {0.0f, 0.0f, 0.0f};
    bool inside = column < content_width && row < content_height;
    if (inside) {
        const int* at = columns + column * column_taps;
        const int* from = rows + row * row_taps;
        if (mode == 0)
            gather_fixed(image, at, (const int*)column_weights + column * column_taps, column_taps,
                         from, (const int*)row_weights + row * row_taps, row_taps, value);
        else
            gather_float(image, at, (const float*)column_weights + column * column_taps, column_taps,
                         from, (const float*)row_weights + row * row_taps, row_taps, value);
    }
    for (int k = 0; k < 3; ++k) {
        float pixel = value[k];
        if (mode == 1) pixel = (float)clamp8((int)rintf(pixel));
        if (mode == 3) pixel = (float)clamp8((int)floorf(pixel + 0.5f));
        output[(long long)(k * height + row) * width + column] =
            inside ? __fadd_rn(__fmul_rn(pixel, scales[k]), -offsets[k]) : 0.0f;
    }
}
"""
